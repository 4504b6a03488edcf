"""MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.backbones.vision.maps import MapBackbone
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


class MobileNet(MapBackbone):
    """A 3x3 convolution of stride 2, stages of inverted residual blocks, and a 1x1 convolution.

    Attributes:
        stages: of inverted residual blocks: their number, the stride of the first, its expansion,
            that of the others, and the channels of their outputs.
        first, last: channels of the first and of the last convolution.
        norm: "batch" (in training a row's output depends on the other real rows; running statistics
            in the collection "batch_stats"), or "group", "layer" or "none", which do not mix rows.
        image_channels, maps: of published models; see `MapBackbone`.
        dtype: type of the computation; norms are in float32.
    """

    stages: tuple[tuple[int, int, int, int, int], ...]
    first: int = 32
    last: int = 1280
    norm: str = "batch"
    image_channels: int = 3
    maps: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def encode(
        self,
        x: Float[Array, "B H W C"],
        mask: Bool[Array, " B"] | None = None,
        *,
        deterministic: bool = True,
    ) -> list[Float[Array, "B _ _ _"]]:
        """The maps before the first stage, after each, and after the last convolution.

        Args:
            x: pictures; zeros where they are masked.
            mask: which pictures are real, for a batch norm. None: all are. What comes out for the
                others is finite and of no meaning.
            deterministic: False in training.

        Raises:
            UserError: an unknown norm.
        """

        def convolve(x: Array, name: str, channels: int, side: int, stride: int) -> Array:
            conv = ConvNorm(channels, side, stride, self.norm, "relu6", self.dtype, name=name)
            return conv(x, mask, deterministic=deterministic)

        x = convolve(x, "stem", self.first, 3, 2)
        states = [x]
        for stage, (count, stride, expansion, others, channels) in enumerate(self.stages):
            for block in range(count):
                x = InvertedResidual(
                    channels,
                    others if block else expansion,
                    1 if block else stride,
                    self.norm,
                    self.dtype,
                    name=f"stage_{stage}_block_{block}",
                )(x, mask, deterministic=deterministic)
            states.append(x)
        return [*states, convolve(x, "last", self.last, 1, 1)]
