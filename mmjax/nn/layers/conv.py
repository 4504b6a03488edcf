"""Convolutions of images, of all channels together or of each by itself."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.nn.kernels import convolution
from mmjax.nn.kernels import depthwise as by_channel
from mmjax.nn.kernels.switch import dispatch

Pair = tuple[int, int]
ORDER = ("NHWC", "HWIO", "NHWC")


def convolve(
    x: Float[Array, "B H W channels"],
    kernel: Float[Array, "height width channels out"],
    strides: Pair = (1, 1),
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
) -> Float[Array, "B y x out"]:
    """Sum over each window's pixels of channels @ kernel; `padding` zeros around the images."""
    options = {"strides": strides, "padding": padding}
    fast = functools.partial(convolution.convolve, **options)
    return dispatch(x, kernel, cpu=fast, default=functools.partial(_plain, **options))


def _plain(x, kernel, strides, padding):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=ORDER)


def depthwise(
    x: Float[Array, "B H W channels"], kernel: Float[Array, "side side channels"], stride: int = 1
) -> Float[Array, "B y x channels"]:
    """Convolution of each channel with its own kernel, side // 2 zeros around the image.

    The side is odd. Computed in float32, in the type of `x`.
    """
    fast = functools.partial(by_channel.depthwise, stride=stride)
    return dispatch(x, kernel, cpu=fast, default=functools.partial(_grouped, stride=stride))


def _grouped(x, kernel, stride):
    around = (kernel.shape[0] // 2, kernel.shape[0] // 2)
    y = jax.lax.conv_general_dilated(
        x.astype(jnp.float32),
        kernel[:, :, None],
        (stride, stride),
        (around, around),
        dimension_numbers=ORDER,
        feature_group_count=x.shape[-1],
    )
    return y.astype(x.dtype)


class Conv(nn.Module):
    """`convolve` with a bias; the same parameters as a `flax.linen.Conv` over images.

    Attributes:
        features: channels of the output.
        sides: height and width of the kernel in pixels.
        strides: from one window to the next, in pixels.
        padding: zeros above and below, left and right, or "SAME" (ceil(size / stride) windows).
        use_bias: whether a bias is added.
        dtype: type of the computation and of the output; parameters are float32.
        kernel_init: initialiser of the kernel [height width channels features].
    """

    features: int
    sides: Pair
    strides: Pair = (1, 1)
    padding: str | tuple[Pair, Pair] = "SAME"
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "B H W channels"]) -> Float[Array, "B y x out"]:
        shape = (*self.sides, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32).astype(self.dtype)
        padding = self.padding
        if isinstance(padding, str):
            padding = jax.lax.padtype_to_pads(x.shape[1:3], self.sides, self.strides, padding)
        padding = tuple(tuple(pair) for pair in padding)
        y = convolve(x.astype(self.dtype), kernel, self.strides, padding)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype)
        return y


class DepthwiseConv(nn.Module):
    """Convolves each channel with its own kernel (see `depthwise`).

    Attributes:
        side: of the kernel in pixels, odd.
        stride: factor by which height and width shrink.
        use_bias: whether a bias is added.
    """

    side: int = 3
    stride: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B H W channels"]) -> Float[Array, "B y x channels"]:
        channels = x.shape[-1]
        init = nn.initializers.variance_scaling(2.0, "fan_in", "normal", in_axis=(0, 1), out_axis=2)
        kernel = self.param("kernel", init, (self.side, self.side, channels), jnp.float32)
        x = depthwise(x, kernel, self.stride)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
            x = x + bias.astype(x.dtype)
        return x
