"""Convolutions with a norm that may be a batch norm, as the published networks have them."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
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


def depthwise(
    x: Float[Array, "B H W channels"], kernel: Float[Array, "side side channels"], stride: int = 1
) -> Float[Array, "B y x channels"]:
    """Convolution of each channel with its own kernel, side // 2 zeros around the picture.

    The same as a convolution with as many feature groups as channels; summed in float32.
    """
    # On CPU a convolution with feature groups takes 4 to 25 times this sum of products, with
    # gradients.
    side = kernel.shape[0]
    around = (side // 2, side // 2)
    padded = jnp.pad(x, ((0, 0), around, around, (0, 0)))
    total = jnp.zeros((), jnp.float32)
    for i, rows in enumerate(shifted(padded, 1, side, stride)):
        for j, window in enumerate(shifted(rows, 2, side, stride)):
            total = total + window.astype(jnp.float32) * kernel[i, j]
    return total.astype(x.dtype)


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
