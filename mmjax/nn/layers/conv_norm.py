"""Convolutions with a norm that may be a batch norm, as the published networks have them."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.layers.batch_norm import BatchNorm
from mmjax.nn.layers.conv import Conv, DepthwiseConv
from mmjax.nn.layers.convolution import NORMS
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.options import activation, choose


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


class NormedLayers(nn.Module, kw_only=True):
    """Convolutions over pictures, with norms.

    A subclass has the method `run` of (pictures, which are real, deterministic).

    Attributes:
        norm: "batch", "group", "layer" or "none".
        dtype: type of the computation; norms are in float32.
    """

    norm: str = "batch"
    dtype: Any = jnp.float32

    def __call__(
        self,
        x: Float[Array, "B H W channels"],
        mask: Bool[Array, " B"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B y x out"]:
        """`mask` says which pictures are real, for a batch norm; None: all are."""
        return self.run(x, mask, deterministic)

    def convolution(self, name: str, *sizes: int | None, **options: Any) -> nn.Module:
        """A `ConvNorm` of these channels, side and stride, with this norm."""
        return ConvNorm(*sizes, norm=self.norm, dtype=self.dtype, name=name, **options)


class ConvNorm(NormedLayers):
    """Convolution, norm, activation; a stride of 1 keeps height and width.

    There are side // 2 zeros on all four sides of a picture, as in PyTorch's networks. Kernels are
    drawn for ReLUs, in the backward direction (He et al. 2015, https://arxiv.org/abs/1502.01852).

    Attributes:
        channels: channels of the output. None: as many as of the input, each convolved by itself
            (depthwise).
        side: of the kernel in pixels, odd.
        stride: factor by which height and width shrink.
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
    """

    channels: int | None
    side: int = 3
    stride: int = 1
    activation: str = "relu"

    @nn.compact
    def run(self, x: Array, mask: Array | None, deterministic: bool) -> Array:
        """The convolution, norm and activation."""
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
        around = (self.side // 2, self.side // 2)
        strides, sides = (self.stride, self.stride), (self.side, self.side)
        return Conv(self.channels, sides, strides, (around, around), **options)(x)
