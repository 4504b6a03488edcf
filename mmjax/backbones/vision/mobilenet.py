"""The block of MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.layers.conv_norm import ConvNorm


class InvertedResidual(nn.Module):
    """1x1 to more channels, 3x3 depthwise, 1x1 to few channels without activation (+ x).

    x is added where the shape stays the same.

    Attributes:
        channels: channels of the output.
        expansion: channels in between, in units of those of the input. 1: the first 1x1 is left
            out.
        stride: factor by which height and width shrink.
        norm: "batch", "group", "layer" or "none".
        dtype: type of the computation; norms are in float32.
    """

    channels: int
    expansion: int = 6
    stride: int = 1
    norm: str = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "R H W channels"],
        mask: Bool[Array, " R"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "R y x out"]:
        """`mask` says which pictures are real, for a batch norm; None: all are."""

        def convolve(x, name, channels, side, stride=1, activation="relu6"):
            conv = ConvNorm(channels, side, stride, self.norm, activation, self.dtype, name=name)
            return conv(x, mask, deterministic=deterministic)

        channels = x.shape[-1]
        y = x
        if self.expansion != 1:
            y = convolve(y, "expand", self.expansion * channels, 1)
        y = convolve(y, "depthwise", None, 3, self.stride)
        y = convolve(y, "project", self.channels, 1, activation="identity")
        return x + y if self.stride == 1 and channels == self.channels else y
