"""Convolutions with a norm that may be a batch norm, as the published networks have them."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.batch_norm import BatchNorm
from mmjax.nn.convolution import NORMS, shifted
from mmjax.nn.dense import Dense
from mmjax.nn.options import activation, choose


def batch_norm(
    x: Float[Array, "B H W channels"], mask: Bool[Array, " B"] | None, deterministic: bool
) -> Float[Array, "B H W channels"]:
    """Normalises each channel over the real pictures of a batch (see BatchNorm)."""
    return BatchNorm(name="norm")(x, mask, deterministic=deterministic)


def _alone(norm: Callable[[Array], Array]) -> Callable[[Array, Array | None, bool], Array]:
    return lambda x, mask, deterministic: norm(x)  # noqa: ARG005


# Norms as functions of (pictures, which are real, deterministic).
BATCH_NORMS: Mapping[str, Callable[[Array, Array | None, bool], Array]] = {
    "batch": batch_norm,
    **{name: _alone(norm) for name, norm in NORMS.items()},
}


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise(
    x: Float[Array, "B H W channels"], kernel: Float[Array, "side side channels"], stride: int = 1
) -> Float[Array, "B y x channels"]:
    """Convolution of each channel with its own kernel, side // 2 zeros around the picture.

    The same as a convolution with as many feature groups as channels, of odd side; summed in
    float32. Only the first derivative is defined, and only in reverse.
    """
    # On CPU a convolution with feature groups takes 4 to 25 times this sum of products, with
    # gradients.
    total = jnp.zeros((), jnp.float32)
    for (i, j), window in _windows(x, kernel.shape[0], stride):
        total = total + window.astype(jnp.float32) * kernel[i, j]
    return total.astype(x.dtype)


def _windows(x: Array, side: int, stride: int) -> Iterator[tuple[tuple[int, int], Array]]:
    """The pixel at (i, j) of each window, for every i and j."""
    around = (side // 2, side // 2)
    padded = jnp.pad(x, ((0, 0), around, around, (0, 0)))
    for i, rows in enumerate(shifted(padded, 1, side, stride)):
        for j, window in enumerate(shifted(rows, 2, side, stride)):
            yield (i, j), window


def _depthwise_forward(x, kernel, stride):
    return depthwise(x, kernel, stride), (x, kernel)


def _depthwise_backward(stride, residuals, d_y):
    # The gradient of the pictures is the same convolution, of the gradient put where each window
    # was, with the kernel turned round. Derived automatically it would be a sum of padded arrays,
    # which takes five times as long on CPU.
    x, kernel = residuals
    between = [
        (0, size - 1 - (count - 1) * stride, stride - 1)
        for size, count in zip(x.shape[1:3], d_y.shape[1:3], strict=True)
    ]
    nothing = (0, 0, 0)
    spread = jax.lax.pad(d_y, jnp.zeros((), d_y.dtype), [nothing, *between, nothing])
    d_x = depthwise(spread, kernel[::-1, ::-1])
    d_y = d_y.astype(jnp.float32)
    sums = [jnp.sum(window * d_y, (0, 1, 2)) for _, window in _windows(x, kernel.shape[0], stride)]
    return d_x, jnp.stack(sums).reshape(kernel.shape).astype(kernel.dtype)


depthwise.defvjp(_depthwise_forward, _depthwise_backward)


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


class ConvNorm(nn.Module):
    """Convolution, norm, activation; a stride of 1 keeps height and width.

    There are side // 2 zeros on all four sides of a picture, as in PyTorch's networks. Kernels are
    drawn for ReLUs, in the backward direction (He et al. 2015, https://arxiv.org/abs/1502.01852).

    Attributes:
        channels: channels of the output. None: as many as of the input, each convolved by itself
            (depthwise).
        side: of the kernel in pixels, odd.
        stride: factor by which height and width shrink.
        norm: "batch", "group", "layer" or "none".
        activation: a name in `mmjax.nn.options.ACTIVATIONS`.
        dtype: type of the computation; norms are in float32.
    """

    channels: int | None
    side: int = 3
    stride: int = 1
    norm: str = "batch"
    activation: str = "relu"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W channels"],
        mask: Bool[Array, " B"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B y x out"]:
        """`mask` says which pictures are real, for a batch norm; None: all are."""
        norm = choose(BATCH_NORMS, self.norm, "norm")
        x = self._convolve(x.astype(self.dtype), use_bias=self.norm == "none")
        return activation(self.activation)(norm(x, mask, deterministic))

    def _convolve(self, x: Array, use_bias: bool) -> Array:
        init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        options = {"use_bias": use_bias, "dtype": self.dtype, "kernel_init": init, "name": "conv"}
        if self.channels is None:
            return DepthwiseConv(self.side, self.stride, use_bias, name="conv")(x)
        if self.side == 1:
            # On CPU the backward pass of a 1x1 convolution takes two to five times that of Dense.
            return Dense(self.channels, **options)(x[:, :: self.stride, :: self.stride])
        padding, strides = self.side // 2, (self.stride, self.stride)
        sides = (self.side, self.side)
        return nn.Conv(self.channels, sides, strides, padding=padding, **options)(x)
