"""3x3 convolutions over pictures."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.errors import UserError
from mmjax.nn.layers.conv import Conv
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import activation, choose, initialiser
from mmjax.nn.layers.windows import shifted

GROUP_CHANNELS = 16


def group_norm(x: Float[Array, "B H W channels"]) -> Float[Array, "B H W channels"]:
    """Normalises a picture over groups of 16 channels (Wu & He 2018), in float32."""
    if x.shape[-1] % GROUP_CHANNELS:
        raise UserError(
            f"norm 'group': {x.shape[-1]} channels do not split into groups of {GROUP_CHANNELS}:"
            f" choose channels divisible by {GROUP_CHANNELS}, or norm 'layer' or 'none'"
        )
    norm = nn.GroupNorm(num_groups=None, group_size=GROUP_CHANNELS, dtype=jnp.float32, name="norm")
    return norm(x).astype(x.dtype)


def layer_norm(x: Float[Array, "B H W channels"]) -> Float[Array, "B H W channels"]:
    """Normalises each pixel over its channels, in float32."""
    return LayerNorm(name="norm")(x).astype(x.dtype)


# No batch norm: a row's output would depend on which other rows are real.
NORMS: Mapping[str, Callable[[Array], Array]] = {
    "group": group_norm,
    "layer": layer_norm,
    "none": lambda x: x,
}


def max_pool(
    x: Float[Array, "B H W channels"], stride: int, side: int | None = None, padding: int = 0
) -> Float[Array, "B y x channels"]:
    """Maximum over windows of side x side pixels; an incomplete last window is dropped.

    Args:
        x: the pictures.
        stride: from one window to the next.
        side: of a window. None: `stride`.
        padding: pixels around the picture that no maximum is taken of; less than `side`.

    Raises:
        UserError: a picture smaller than a window.
    """
    side = stride if side is None else side
    if min(x.shape[1:3]) + 2 * padding < side:
        raise UserError(
            f"max pooling: a map of {x.shape[1]}x{x.shape[2]} is smaller than a window of"
            f" {side}x{side}: give larger images or pool less"
        )
    if padding:
        around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
        x = jnp.pad(x, around, constant_values=-jnp.inf)
    # On CPU the gradient of a window reduction takes thirty times that of elementwise maxima.
    x = functools.reduce(jnp.maximum, shifted(x, 1, side, stride))
    return functools.reduce(jnp.maximum, shifted(x, 2, side, stride))


# How a block gets smaller: (stride of its convolution, stride of its pooling).
DOWNSAMPLE: Mapping[str, Callable[[int], tuple[int, int]]] = {
    "max": lambda stride: (1, stride),
    "stride": lambda stride: (stride, 1),
}


class ConvolutionBlock(nn.Module):
    """3x3 convolution, norm, activation, and a max pooling if `downsample` says so.

    Attributes:
        channels: channels of the output.
        stride: factor by which height and width shrink.
        downsample: "stride" (the convolution strides) or "max" (max pooling afterwards).
        norm: "group", "layer" or "none".
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dtype: type of the computation; norms are in float32.
        kernel_init: a name in `mmjax.nn.layers.options.INITIALISERS`.
    """

    channels: int
    stride: int = 1
    downsample: str = "stride"
    norm: str = "group"
    activation: str = "relu"
    dtype: Any = jnp.float32
    kernel_init: str = "lecun_normal"

    @nn.compact
    def __call__(self, x: Float[Array, "B H W channels"]) -> Float[Array, "B y x out"]:
        step, pooling = choose(DOWNSAMPLE, self.downsample, "downsample")(self.stride)
        x = Conv(
            self.channels,
            (3, 3),
            (step, step),
            dtype=self.dtype,
            kernel_init=initialiser(self.kernel_init),
            name="conv",
        )(x)
        x = activation(self.activation)(choose(NORMS, self.norm, "norm")(x))
        return max_pool(x, pooling)
