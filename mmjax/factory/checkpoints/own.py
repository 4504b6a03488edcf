"""Encoders that mmjax trained, on their own: a folder with a config and a file of parameters.

    config.json        model_type "mmjax_encoder", its kind of input and its entry of the config
    mmjax.safetensors  its variables by path: "params/transformer/block_0/attention/qkv/kernel"
    tokenizer.json     of the run, for texts

`mmjax.pretrained(FOLDER)` in a config is that encoder again.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Shaped
from ml_collections import ConfigDict

from mmjax.data.pipeline import tokenizer
from mmjax.errors import UserError
from mmjax.factory.tables.encoders import ENCODERS
from mmjax.factory.tables.names import construct
from mmjax.interop.architecture import Checkpoint
from mmjax.interop.formats import safetensors
from mmjax.interop.formats.open_weights import open_weights
from mmjax.interop.weights.checkpoint import read_config_file
from mmjax.interop.weights.layout import nested
from mmjax.interop.weights.mmjax_format import FILES
from mmjax.interop.weights.variables import flat
from mmjax.nn.audio.resample import resample
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.train.checkpoints.workdir import TOKENIZER_FILE, write_json
from mmjax.types import Tokens

TYPE = "mmjax_encoder"
FILE = FILES["mmjax"]
NEEDED = ("kind", "encoder", "width", "vocabulary_size", "sample_rate")


class OwnEncoder(nn.Module):
    """Raw input -> Tokens, by an encoder that was trained in another run.

    Attributes:
        backbone: (value, mask, *, deterministic) -> Tokens.
        width: D of the tokens; a last dense layer takes them there if those of the backbone differ.
        rate, backbone_rate: of sounds in the data and in the backbone, in Hz; None: no sounds.
        dtype: type of the computation.
    """

    backbone: nn.Module
    width: int
    rate: int | None = None
    backbone_rate: int | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        value: Shaped[Array, "R ..."],
        mask: Bool[Array, "R ..."] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """As of the backbone; raises what that raises."""
        if self.rate != self.backbone_rate:
            value, mask = resample(value, mask, rate=self.rate, target=self.backbone_rate)
        tokens = self.backbone(value, mask, deterministic=deterministic)
        if tokens.x.shape[-1] == self.width:
            return tokens
        x = Dense(self.width, dtype=self.dtype, name="to_width")(tokens.x)
        return Tokens(zero_masked(x, tokens.mask), tokens.mask)


def write(variables: Any, directory: Path) -> Path:
    """Writes variables by path, whole or not at all; returns the file."""
    directory.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.asarray(value) for name, value in flat(variables).items()}
    safetensors.write(directory / FILE, arrays, metadata={"format": "mmjax"})
    return directory / FILE


def read(directory: Path, shapes: Any) -> dict[str, Any]:
    """The variables that `write` wrote.

    Args:
        directory: where.
        shapes: of the variables, by collection.

    Raises:
        UserError: they are not these.
    """
    tensors, wanted = open_weights(directory / FILE), flat(shapes)
    given = {name: tensor.shape for name, tensor in tensors.items()}
    odd = [
        n
        for n in sorted(given.keys() | wanted)
        if given.get(n) != getattr(wanted.get(n), "shape", None)
    ]
    if odd:
        raise UserError(
            f"{directory / FILE} does not hold the model of the config.json beside it: {odd[0]} is"
            f" {given.get(odd[0], 'not')} there; convert the workdir anew"
        )
    return nested({name: jnp.asarray(tensor.read()) for name, tensor in tensors.items()})


def write_encoder(
    variables: Any, described: Mapping[str, Any], words: Path | None, directory: Path
) -> None:
    """Writes the folder of an encoder.

    Args:
        variables: of the encoder.
        described: what NEEDED names.
        words: the tokenizer's file; None: it reads no texts.
        directory: is made if need be.
    """
    write(variables, directory)
    write_json(directory / "config.json", {"model_type": TYPE, **described})
    if words is not None:
        tokenizer.save(tokenizer.load(words), directory / TOKENIZER_FILE)


def is_own(checkpoint: Checkpoint) -> bool:
    """Whether `write_encoder` wrote it."""
    return checkpoint.config.get("model_type") == TYPE


def encoder(
    checkpoint: Checkpoint,
    spec: ConfigDict,
    kind: str,
    where: str,
    *,
    width: int,
    dtype: Any,
    rate: int,
) -> OwnEncoder:
    """The encoder; for the arguments see `mmjax.factory.checkpoints.pretrained.encoder`.

    Raises:
        UserError: it encodes another kind, has no such option, or its config.json is damaged.
    """
    c = checkpoint.config
    lacking = [key for key in NEEDED if key not in c]
    if lacking:
        raise UserError(f"{checkpoint.path}/config.json has no {lacking[0]!r}: convert it anew")
    if kind != c["kind"]:
        raise UserError(f"{where}: {checkpoint.path} encodes {c['kind']}, not {kind}")
    for key in ("output", "pixel_mean", "pixel_std"):
        if key in spec:
            raise UserError(f"{where}.{key} is for other libraries' models: leave it out")
    given = {name: c[name] for name in ("width", "vocabulary_size", "sample_rate")}
    entry = ConfigDict({k: tuple(v) if type(v) is list else v for k, v in c["encoder"].items()})
    backbone = construct(ENCODERS[kind], entry, where, **given, dtype=dtype)
    rates = (rate, c["sample_rate"]) if kind == "audio" else (None, None)
    return OwnEncoder(backbone, width, *rates, dtype)


def variables(checkpoint: Checkpoint, kind: str, where: str) -> dict[str, Any]:
    """Its variables by collection; raises UserError for one of another kind of input."""
    if kind != checkpoint.config.get("kind"):
        raise UserError(f"{where}: {checkpoint.path} encodes no {kind}")
    return nested({name: jnp.asarray(t.read()) for name, t in checkpoint.weights.items()})


def encode_texts(checkpoint: Checkpoint, length: int) -> Any:
    """texts -> (ids int32 [n length], mask bool [n length]), by its own words."""
    words = tokenizer.load(checkpoint.path / TOKENIZER_FILE)
    return functools.partial(tokenizer.encode, words, length=length)


def refuse(path: Path) -> None:
    """Raises UserError if a folder holds such an encoder, which alone answers nothing."""
    file = path / "config.json"
    ours = (path / FILE).is_file() and file.is_file()
    if ours and read_config_file(file).get("model_type") == TYPE:
        raise UserError(
            f"{path} is an encoder that mmjax trained, without what was behind it: use it in a"
            f" config, as mmjax.pretrained({str(path)!r})"
        )
