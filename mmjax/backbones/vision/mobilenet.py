"""MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381)."""

import flax.linen as nn
from jaxtyping import Array, Float

from mmjax.backbones.vision.maps import MapBackbone
from mmjax.nn.layers.conv_norm import NormedLayers


class InvertedResidual(NormedLayers):
    """1x1 to more channels, 3x3 depthwise, 1x1 to few channels without activation (+ x).

    x is added where the shape stays the same.

    Attributes:
        channels: channels of the output.
        expansion: channels in between, in units of those of the input. 1: the first 1x1 is left
            out.
        stride: factor by which height and width shrink.
    """

    channels: int
    expansion: int = 6
    stride: int = 1

    @nn.compact
    def run(self, x: Array, mask: Array | None, deterministic: bool) -> Array:
        """The block."""

        def convolve(x, name, channels, side, stride=1, activation="relu6"):
            conv = self.convolution(name, channels, side, stride, activation=activation)
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
    """

    stages: tuple[tuple[int, int, int, int, int], ...]
    first: int = 32
    last: int = 1280

    @nn.compact
    def run(
        self, x: Array, mask: Array | None, deterministic: bool
    ) -> list[Float[Array, "B _ _ _"]]:
        """The maps before the first stage, after each, and after the last convolution."""

        def convolve(x: Array, name: str, channels: int, side: int, stride: int) -> Array:
            conv = self.convolution(name, channels, side, stride, activation="relu6")
            return conv(x, mask, deterministic=deterministic)

        stages = (
            (count, (channels, expansion, stride), (channels, others))
            for count, stride, expansion, others, channels in self.stages
        )
        x = convolve(x, "stem", self.first, 3, 2)
        states = self.staged(x, mask, deterministic, InvertedResidual, stages)
        return [*states, convolve(states[-1], "last", self.last, 1, 1)]
