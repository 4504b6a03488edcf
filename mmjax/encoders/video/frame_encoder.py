"""An image encoder for each frame, and what reads the frames in time."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.image.cnn import Cnn
from mmjax.encoders.image.mobilenet import MobileNetV2
from mmjax.encoders.image.pixels import SeenEncoder
from mmjax.encoders.image.resnet import ResNet
from mmjax.encoders.image.vit import Vit
from mmjax.encoders.video.frames import check_bytes
from mmjax.errors import UserError
from mmjax.nn.layers.embedding import LearnedPositions
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.pooling import masked_mean
from mmjax.nn.layers.recurrent import Recurrent
from mmjax.nn.layers.transformer import Transformer
from mmjax.types import Tokens

# An image encoder, and its options where they are not its own defaults.
FRAMES: Mapping[str, tuple[Callable[..., nn.Module], Mapping[str, Any]]] = {
    "cnn": (Cnn, {"output": "mean"}),
    "mobilenet": (MobileNetV2, {"output": "mean"}),
    "resnet": (ResNet, {"output": "mean"}),
    "vit": (Vit, {}),
}


def last_real(x: Float[Array, "R T D"], mask: Bool[Array, "R T"]) -> Float[Array, "R D"]:
    """The vector of the last real frame; that of frame 0 if there is none."""
    place = jnp.max(jnp.where(mask, jnp.arange(mask.shape[1]), 0), axis=1)
    return jnp.take_along_axis(x, place[:, None, None], axis=1)[:, 0]


def masked_max(x: Float[Array, "R T D"], mask: Bool[Array, "R T"]) -> Float[Array, "R D"]:
    """Maximum over the real frames; zeros for a row that has none."""
    lowest = jnp.finfo(x.dtype).min
    most = jnp.max(jnp.where(mask[..., None], x, lowest), axis=1)
    return zero_masked(most, jnp.any(mask, axis=1))


# What reads the frames x [R T D] in time: the tokens, their mask, and the last token.
Reader = Callable[["FrameEncoder", Array, Array, bool], tuple[Array, Array, Array]]


def pooled(pool: Callable[[Array, Array], Array]) -> Reader:
    """One token for the clip."""

    def read(encoder, x, mask, deterministic):
        del encoder, deterministic
        x = pool(x, mask)
        return x[:, None], jnp.any(mask, axis=1, keepdims=True), x

    return read


def recurrent(cell: str) -> Reader:
    """A recurrent network of the cell called so in `mmjax.nn.layers.recurrent.Recurrent`."""

    def read(encoder, x, mask, deterministic):
        network = Recurrent(
            encoder.width,
            cell,
            encoder.layers,
            dropout=encoder.dropout,
            dtype=encoder.dtype,
            name=cell,
        )
        hidden, last = network(x, mask, deterministic=deterministic)
        return hidden, mask, last

    return read


def transformer(
    encoder: "FrameEncoder", x: Float[Array, "R T D"], mask: Bool[Array, "R T"], deterministic: bool
) -> tuple[Array, Array, Array]:
    """Learned positions and self-attention between the frames."""
    x = LearnedPositions(name="positions")(x)
    x = Transformer(
        encoder.layers,
        encoder.heads,
        dropout=encoder.dropout,
        dtype=encoder.dtype,
        name="transformer",
    )(x, mask, deterministic=deterministic)
    return x, mask, last_real(x, mask)


TEMPORAL: Mapping[str, Reader] = {
    "gru": recurrent("gru"),
    "lstm": recurrent("lstm"),
    "max": pooled(masked_max),
    "mean": pooled(masked_mean),
    "transformer": transformer,
}
OUTPUTS: Mapping[str, Callable[[Array, Array, Array], tuple[Array, Array]]] = {
    "last": lambda _, mask, last: (last[:, None], jnp.any(mask, axis=1, keepdims=True)),
    "sequence": lambda x, mask, _: (x, mask),
}


class FrameEncoder(SeenEncoder):
    """uint8 clips [R T H W 3] -> a token for each frame, or one for the clip.

    Each frame becomes the mean of the tokens that an image encoder gives for it, and a network
    reads these vectors in time; with an LSTM, LRCN (Donahue et al. 2015,
    https://arxiv.org/abs/1411.4389). Absent frames are computed and thrown away, so that any
    number of frames is one program.

    Attributes:
        width: D of the tokens and of the frames' vectors.
        frame: the image encoder, "cnn", "mobilenet", "resnet" or "vit".
        frame_options: of the image encoder, by name, besides width, dropout and dtype.
        temporal: "lstm", "gru" or "transformer" (a token a frame), "mean" or "max" (one token:
            the mean or the maximum over the real frames).
        layers: of the recurrent network or transformer.
        heads: of the transformer.
        output: "sequence" (all tokens) or "last" (one token: a recurrent network's last state, or
            the token of the last real frame).
        dropout: of the image encoder and of what reads in time.
    """

    frame: str = "cnn"
    frame_options: Mapping[str, Any] = FrozenDict()
    temporal: str = "transformer"
    layers: int = 1
    heads: int = 4
    output: str = "sequence"

    def normalised(self, value: Array) -> Array:
        """The bytes, which the image encoder normalises."""
        check_bytes(value)
        return value

    def shown(
        self, pixels: Shaped[Array, "R T H W 3"], mask: Bool[Array, "R T"] | None
    ) -> tuple[Shaped[Array, "R T H W 3"], Bool[Array, "R T"]]:
        """The clips as they are, and which frames are there: the image encoder hides the others."""
        return pixels, jnp.ones(pixels.shape[:2], bool) if mask is None else mask

    @nn.compact
    def encode(self, video: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [R N D] of bytes or normalised pixels.

        Raises:
            UserError: sizes that the image encoder refuses, or a longer clip than at initialisation
                ("transformer").
        """
        method = "__call__" if video.dtype == jnp.uint8 else "from_pixels"
        encode = getattr(self._image_encoder(), method)
        frames = video.reshape(-1, *video.shape[2:])
        images, cells = encode(frames, mask.reshape(-1), deterministic=deterministic)
        x = masked_mean(images, cells).reshape(*mask.shape, self.width)
        read = choose(TEMPORAL, self.temporal, "temporal")
        x, tokens, last = read(self, x, mask, deterministic)
        x, tokens = choose(OUTPUTS, self.output, "output")(x, tokens, last)
        return Tokens(zero_masked(x, tokens), tokens)

    def _image_encoder(self) -> nn.Module:
        constructor, options = choose(FRAMES, self.frame, "frame")
        options = {**options, "dropout": self.dropout, "dtype": self.dtype, **self.frame_options}
        known = {field.name for field in dataclasses.fields(constructor)} - {"parent", "name"}
        for option in options.keys() - known - {"width"}:
            raise UserError(
                f"frame_options: {self.frame} has no option {option!r}: choose from"
                f" {', '.join(sorted(known - {'width'}))}"
            )
        return constructor(self.width, **options, name="frame_encoder")
