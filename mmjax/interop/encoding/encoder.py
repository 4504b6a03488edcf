"""A part of a published model as an encoder of mmjax: raw input -> Tokens."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from mmjax.encoders.image import pixels
from mmjax.encoders.video import frames
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Part
from mmjax.interop.preprocess import processors
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.types import Tokens

# From the outputs of a backbone: the tokens that come out.
OUTPUTS: Mapping[str, Callable[[Mapping[str, Array]], Array]] = {
    "pooled": lambda found: found["pooler_output"][:, None],
    "sequence": lambda found: found["last_hidden_state"],
}


def images(value: Array, mask: Array | None, *, mean: Any, std: Any) -> tuple[dict, Array]:
    """uint8 [R H W 3] -> pixel_values [R 3 H W]."""
    rows = jnp.ones(value.shape[:1], bool) if mask is None else mask
    x = pixels.normalise(value, jnp.float32, mean, std)
    x = zero_masked(x, jnp.broadcast_to(rows[:, None, None], x.shape[:3]))
    return {"pixel_values": jnp.moveaxis(x, 3, 1)}, rows


def videos(value: Array, mask: Array | None, *, mean: Any, std: Any) -> tuple[dict, Array]:
    """uint8 [R T H W 3] -> pixel_values [R T 3 H W]; missing frames are grey."""
    mask = jnp.ones(value.shape[:2], bool) if mask is None else mask
    x = frames.zero_frames(frames.normalise(value, jnp.float32, mean, std), mask)
    return {"pixel_values": jnp.moveaxis(x, 4, 2)}, jnp.any(mask, axis=1)


def token_ids(value: Array, mask: Array | None, *, padding: int = 0) -> tuple[dict, Array]:
    """Word ids [B L] -> input_ids and attention_mask."""
    mask = jnp.ones(value.shape, bool) if mask is None else mask
    return {"input_ids": jnp.where(mask, value, padding), "attention_mask": mask}, mask


PREPARE = {"image": images, "text": token_ids, "video": videos}


class PretrainedEncoder(nn.Module):
    """Raw input -> Tokens, by a part of a published model.

    Attributes:
        backbone: (the inputs of its library) -> a dict with "last_hidden_state" [B N d].
        prepare: (value, mask) -> the inputs, and which examples [B] or tokens [B N] are real.
        width: D of the tokens; a last dense layer takes them there if the model is of another.
            None: that of the model.
        output: "sequence" (all tokens) or "pooled" (one: the model's own summary).
        dtype: type of the computation.
    """

    backbone: nn.Module
    prepare: Callable
    width: int | None
    output: str = "sequence"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        value: Shaped[Array, "R ..."],
        mask: Bool[Array, "R ..."] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """What the kind of input is and which is real -> Tokens [R N D].

        Raises:
            UserError: of another type, of sizes that the model cannot take, or a model without the
                wanted output.
        """
        inputs, real = self.prepare(value, mask)
        found = self.backbone(**inputs, deterministic=deterministic)
        pick = choose(OUTPUTS, self.output, "output")
        if self.output == "pooled" and "pooler_output" not in found:
            raise UserError("this model has no pooled output: choose output='sequence'")
        x = pick(found).astype(self.dtype)
        if real.ndim == 1 or self.output == "pooled":
            rows = real if real.ndim == 1 else jnp.any(real, axis=1)
            real = jnp.broadcast_to(rows[:, None], x.shape[:2])
        if self.width is not None and x.shape[-1] != self.width:
            x = Dense(self.width, dtype=self.dtype, name="to_width")(x)
        return Tokens(zero_masked(x, real), real)


def part_of(architecture: Architecture, kind: str, where: str) -> Part:
    """The part of a model that encodes a kind of input; raises UserError if it has none.

    For audio it may be that of images (see `mmjax.interop.encoding.spectrograms`).
    """
    if takes_spectrograms(architecture, kind):
        return architecture.parts["image"]
    if kind not in architecture.parts:
        raise UserError(
            f"{where}: this model of the architecture {architecture.name} encodes"
            f" {' and '.join(sorted(architecture.parts)) or 'nothing'}, not {kind}"
        )
    return architecture.parts[kind]


def takes_spectrograms(architecture: Architecture, kind: str) -> bool:
    """Whether an image model is given waveforms, which it takes as images of spectrograms."""
    return kind == "audio" and "audio" not in architecture.parts and "image" in architecture.parts


def preparation(
    part: Part,
    kind: str,
    checkpoint: Checkpoint,
    options: Mapping[str, Any],
    architecture: str = "",
) -> Any:
    """What turns raw input into the inputs of a part.

    Args:
        part, kind: of the model, and its kind of input.
        checkpoint: its files say how pixels are normalised, as for prediction (see
            `mmjax.interop.preprocess.processors`), and whatever `part.read` reads there.
        options: what the user wants otherwise: "mean" and "std" of pixels in 0..1.
        architecture: the name of the model's.

    Raises:
        UserError: nothing says how pixels are normalised, or `part.read` raises it.
    """
    prepare = PREPARE[kind] if part.prepare is None else part.prepare
    given = dict(part.options)
    if part.read is not None:
        given |= part.read(processors.of_sounds(checkpoint), str(checkpoint.path))
    if kind in ("image", "video"):
        wanted = {key: value for key, value in options.items() if value is not None}
        if not wanted.keys() >= {"mean", "std"}:
            given |= processors.statistics(checkpoint, architecture, kind)
        given |= wanted
        if not given.keys() >= {"mean", "std"}:
            raise UserError(
                f"{checkpoint.path}: no file there says how pixels are normalised: add its"
                " preprocessor_config.json, or give pixel_mean and pixel_std"
            )
    return functools.partial(prepare, **given)
