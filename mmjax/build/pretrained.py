"""config.encoders.NAME with name "pretrained" -> an encoder, its first weights, its tokenizer."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmjax.build.tables import lookup
from mmjax.interop import skeleton
from mmjax.interop.architecture import Checkpoint
from mmjax.interop.checkpoint import TENSORS_FILE, open_checkpoint
from mmjax.interop.encoding import hearing
from mmjax.interop.encoding.encoder import (
    OUTPUTS,
    PretrainedEncoder,
    part_of,
    preparation,
    sees_sounds,
)
from mmjax.interop.encoding.spectrograms import seen
from mmjax.interop.preprocess.texts import text_processor
from mmjax.interop.recognition import architecture_of
from mmjax.interop.variables import read_variables
from mmjax.types import UserError

NAME = "pretrained"
FOLDER = "pretrained"  # of a workdir: what a checkpoint had besides its weights
OPTIONS = ("path", "freeze", "output", "pixel_mean", "pixel_std", "sample_rate")
Checkpoints = Mapping[str, Checkpoint]


def pretrained(path: str, *, freeze: bool = False, **options: Any) -> ConfigDict:
    """The entry of a config for an encoder from somebody's checkpoint.

    Sounds are resampled to the rate that the model hears (most: 16 kHz; CLAP: 48 kHz). They come
    at `sample_rate`, or as the data set says (see `mmjax.build.tables.sample_rate`). A model of
    pictures with `kind="audio"` sees spectrograms, at any rate.

    Args:
        path: a directory or file; see `mmjax.interop.load`.
        freeze: whether it stays as it is.
        options: `kind` of the input, if that is not the modality's name; `output`: "sequence" (all
            tokens) or "pooled" (the model's own summary); `pixel_mean`, `pixel_std`, with pixels
            in 0..1, where no file of the checkpoint says them; `sample_rate` of the data in Hz.
    """
    return ConfigDict({"name": NAME, "path": str(path), "freeze": freeze, **options})


def chosen(config: ConfigDict) -> tuple[str, ...]:
    """The modalities of a config whose encoders are pretrained."""
    return tuple(n for n in config.modalities if config.encoders[n].get("name") == NAME)


def checkpoints(config: ConfigDict, workdir: Path | None = None) -> dict[str, Checkpoint]:
    """The checkpoints of the pretrained encoders, by modality.

    Args:
        config: of the run.
        workdir: what it has kept of them is used, and what it has not is put there. None: the
            checkpoints where the config says.

    Raises:
        UserError: an option that there is not, or a checkpoint that is missing or damaged.
    """
    found = {}
    for name in chosen(config):
        spec, where = config.encoders[name], f"config.encoders.{name}"
        for key in spec:
            lookup(dict.fromkeys(("name", "kind", *OPTIONS)), key, where)
        lookup(OUTPUTS, spec.get("output", "sequence"), f"{where}.output")
        kept = None if workdir is None else workdir / FOLDER / name
        if kept is None or not (kept / TENSORS_FILE).exists():
            if not spec.get("path"):
                raise UserError(f"{where}.path: say where the checkpoint is")
            found[name] = open_checkpoint(spec.path)
        if kept is not None:
            if name in found:
                skeleton.write(found[name], kept)
            found[name] = skeleton.read(kept)
    return found


def encoder(
    checkpoint: Checkpoint,
    spec: ConfigDict,
    kind: str,
    where: str,
    *,
    width: int,
    dtype: Any,
    rate: int = hearing.RATE,
) -> PretrainedEncoder:
    """The encoder that an entry of a config describes.

    Args:
        checkpoint, spec, kind, where: the model, the entry, its kind of input and its config key.
        width, dtype: of the tokens.
        rate: of sounds in Hz, from which they are resampled if the model hears another.

    Raises:
        UserError: the model does not encode this kind of input, or cannot be run, or a
            `sample_rate` of what is no sound.
    """
    if kind != "audio" and "sample_rate" in spec:
        raise UserError(f"{where}.sample_rate is for kind='audio', not {kind!r}: leave it out")
    architecture = architecture_of(checkpoint, dtype)
    part, sees = part_of(architecture, kind, where), sees_sounds(architecture, kind)
    wanted = {name: spec.get(f"pixel_{name}") for name in ("mean", "std")}
    prepare = preparation(part, "image" if sees else kind, checkpoint, wanted, architecture.family)
    if sees:
        prepare = functools.partial(seen, sample_rate=rate, see=prepare)
    elif kind == "audio":
        heard = prepare.keywords.get("sample_rate", hearing.RATE)
        prepare = functools.partial(hearing.resampled, rate=rate, heard=heard, prepare=prepare)
    output = spec.get("output", "sequence")
    return PretrainedEncoder(part.module, prepare, width, output, dtype)


def frozen(config: ConfigDict) -> tuple[str, ...]:
    """Regular expressions on the paths of the parameters of the encoders that stay as they are."""
    return tuple(
        f"^encoders_{name}/tower/"
        for name in chosen(config)
        if config.encoders[name].get("freeze", False)
    )


def first_variables(config: ConfigDict, kind_of: Any) -> tuple[dict[str, Any], list[str]]:
    """What the checkpoints give of the model's variables, by collection, and a report of each.

    Args:
        config: of the run.
        kind_of: (config, modality) -> the kind of its input.
    """
    tree: dict[str, Any] = {}
    notes = []
    for name, checkpoint in checkpoints(config).items():
        architecture = architecture_of(checkpoint, np.float32)
        part = part_of(architecture, kind_of(config, name), f"config.encoders.{name}")
        variables, report = read_variables(checkpoint, architecture, part.path)
        for collection, values in variables.items():
            tree.setdefault(collection, {})[f"encoders_{name}"] = {"tower": values}
        notes.append(f"{name} from {checkpoint.path}: {report}")
    return tree, notes


def encode_texts(checkpoint: Checkpoint, length: int) -> Any:
    """texts -> (ids int32 [n length], mask bool [n length]), by the checkpoint's own tokenizer.

    A text that is empty is one that is missing: its mask is all False.
    """
    processor = text_processor(checkpoint.path, checkpoint.config)

    def encode(texts: Any) -> tuple[np.ndarray, np.ndarray]:
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        found = processor(list(rows), padding="max_length", max_length=length)
        ids = found["input_ids"]
        mask = found.get("attention_mask", np.ones_like(ids)).astype(bool)
        mask &= np.array([bool(text) for text in rows])[:, None]
        order = np.array([rows[text] for text in texts], np.intp)
        return ids[order], mask[order]

    return encode
