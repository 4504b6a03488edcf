"""3-D convolutional video encoder, in the manner of C3D (Tran et al. 2015,
https://arxiv.org/abs/1412.0767)."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.encoders.video.frames import VideoEncoder, zero_frames
from mmjax.errors import UserError
from mmjax.nn.layers.conv import convolve
from mmjax.nn.layers.convolution import NORMS
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation, choose
from mmjax.nn.layers.pooling import masked_mean
from mmjax.nn.layers.tubelets import real_tubelets
from mmjax.types import Tokens


def convolve_clips(
    x: Float[Array, "R T H W channels"],
    kernel: Float[Array, "3 3 3 channels out"],
    stride: int,
    time_stride: int,
) -> Float[Array, "R t Y X out"]:
    """A 3x3x3 convolution with zeros around the clip, as 2-D convolutions of its frames.

    Either the frames before, at and after each time are put one behind the other in the channels,
    or what each frame adds to the times around it is summed: whichever writes less.
    """
    writes_less = x.shape[-1] * stride**2 < kernel.shape[-1]
    return (_stacked if writes_less else _summed)(x, kernel, stride, time_stride)


def _stacked(x: Array, kernel: Array, stride: int, time_stride: int) -> Array:
    length = x.shape[1]
    padded = jnp.pad(x, [(0, 0), (1, 1), (0, 0), (0, 0), (0, 0)])
    near = [padded[:, offset : offset + length : time_stride] for offset in range(3)]
    stacked = jnp.concatenate(near, axis=-1)
    return _convolve_frames(stacked, jnp.concatenate(list(kernel), axis=-2), stride)


def _summed(x: Array, kernel: Array, stride: int, time_stride: int) -> Array:
    length, total = -(-x.shape[1] // time_stride), 0.0
    for first in range(min(time_stride, x.shape[1])):
        # Every time_stride-th frame meets the same frames of the kernel, whose middle is 1.
        frames = x[:, first::time_stride]
        met = [i for i in range(3) if (i - 1 - first) % time_stride == 0]
        added = _convolve_frames(frames, jnp.concatenate([kernel[i] for i in met], axis=-1), stride)
        for i, part in zip(met, jnp.split(added, len(met), axis=-1), strict=True):
            later = (1 + first - i) // time_stride
            around = [(0, 0, 0)] * part.ndim
            around[1] = (later, length - part.shape[1] - later, 0)
            total = total + jax.lax.pad(part, jnp.zeros((), part.dtype), around)
    return total


def _convolve_frames(x: Array, kernel: Array, stride: int) -> Array:
    """Each frame [R T H W C] convolved with a kernel [3 3 C out], with zeros around it."""
    flat = convolve(x.reshape(-1, *x.shape[2:]), kernel, (stride, stride), ((1, 1), (1, 1)))
    return flat.reshape(*x.shape[:2], *flat.shape[1:])


class ConvolutionBlock3d(nn.Module):
    """3x3x3 convolution, norm of each frame, activation; frames that are not real stay zeros.

    Attributes:
        channels: channels of the output.
        stride: factor by which height and width shrink.
        time_stride: factor by which the clip gets shorter, 1 or 2.
        norm: "group", "layer" or "none", of each frame by itself.
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dtype: type of the computation; norms are in float32.
    """

    channels: int
    stride: int = 1
    time_stride: int = 1
    norm: str = "group"
    activation: str = "relu"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "R T H W channels"], mask: Bool[Array, "R T"]
    ) -> tuple[Float[Array, "R t Y X out"], Bool[Array, "R t"]]:
        """The clip after the block, and which of its frames are real.

        With a time_stride of 2, frame i comes from the frames 2i - 1, 2i and 2i + 1; it is real if
        frame 2i or 2i + 1 is.
        """
        shape = (3, 3, 3, x.shape[-1], self.channels)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,), jnp.float32)
        kernel = kernel.astype(self.dtype)
        x = convolve_clips(x.astype(self.dtype), kernel, self.stride, self.time_stride)
        x = x + bias.astype(self.dtype)
        frames = choose(NORMS, self.norm, "norm")(x.reshape(-1, *x.shape[2:]))
        x = activation(self.activation)(frames).reshape(x.shape)
        mask = jnp.pad(mask, [(0, 0), (0, -mask.shape[1] % self.time_stride)])
        mask = real_tubelets(mask, self.time_stride)
        return zero_frames(x, mask), mask


def cell_mean(x: Float[Array, "R t Y X channels"]) -> Float[Array, "R t channels"]:
    """The mean over the cells of each frame."""
    return jnp.mean(x, axis=(2, 3), dtype=jnp.float32).astype(x.dtype)


# From the last clip [R t Y X channels] and its mask [R t]: the tokens and their mask.
OUTPUTS: Mapping[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "frames": lambda x, mask: (cell_mean(x), mask),
    "grid": lambda x, mask: (
        x.reshape(x.shape[0], -1, x.shape[-1]),
        jnp.repeat(mask, x.shape[2] * x.shape[3], axis=1),
    ),
    "mean": lambda x, mask: (
        masked_mean(cell_mean(x), mask)[:, None],
        jnp.any(mask, axis=1, keepdims=True),
    ),
}


class Cnn3d(VideoEncoder):
    """uint8 clips [R T H W 3] -> a token for each frame that is left, for each cell, or one.

    Masked frames are zeros before every convolution, like what is outside the clip, so a clip
    padded with masked frames gives what it gives without them.

    Attributes:
        width: D of the tokens; a dense layer takes the last channels there.
        channels: channels of each block.
        strides: factor by which each block shrinks height and width. None: 2 for each.
        time_strides: factor, 1 or 2, by which each block shortens the clip. None: 1 for each.
        norm: norm of each frame in each block: "group", "layer" or "none".
        activation: activation of each block.
        output: "frames" (a token a frame: the mean over its cells), "grid" (a token a cell, by
            time, row and column) or "mean" (one token: the mean over the real frames).
        dropout: share dropped of what enters the last dense layer.
    """

    channels: tuple[int, ...] = (32, 64, 128)
    strides: tuple[int, ...] | None = None
    time_strides: tuple[int, ...] | None = None
    norm: str = "group"
    activation: str = "relu"
    output: str = "frames"

    @nn.compact
    def encode(self, x: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [R N D].

        Raises:
            UserError: strides that are not one for each block.
        """
        strides = self.strides or (2,) * len(self.channels)
        time_strides = self.time_strides or (1,) * len(self.channels)
        if not len(strides) == len(time_strides) == len(self.channels):
            raise UserError(
                f"cnn3d: {len(strides)} strides and {len(time_strides)} time_strides for"
                f" {len(self.channels)} channels: give one for each"
            )
        if not set(time_strides) <= {1, 2}:
            raise UserError(
                f"cnn3d: time_strides {time_strides}: choose 1 or 2 for each, as a longer stride"
                " would skip frames"
            )
        for layer, channels in enumerate(self.channels):
            x, mask = ConvolutionBlock3d(
                channels,
                strides[layer],
                time_strides[layer],
                self.norm,
                self.activation,
                self.dtype,
                name=f"block_{layer}",
            )(x, mask)
        x, mask = choose(OUTPUTS, self.output, "output")(x, mask)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        return Tokens(zero_masked(x, mask), mask)
