"""Residual networks without the classifier, on pictures of any number of channels: those of
torchvision, timm and transformers, and those of encoders of images and spectrograms."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from mmjax.backbones.vision.maps import MapBackbone
from mmjax.errors import UserError
from mmjax.nn.layers.conv_norm import NormedLayers
from mmjax.nn.layers.convolution import max_pool
from mmjax.nn.layers.options import choose

Convolutions = tuple[tuple[int, int], ...]
# A block's convolutions: (side, channels of the output in units of the stage's channels).
BASIC = ((3, 1), (3, 1))
BOTTLENECK = ((1, 1), (3, 1), (1, 4))
# By depth: the block, and how many of them in each of the four stages.
DEPTHS = {
    10: (BASIC, (1, 1, 1, 1)),
    18: (BASIC, (2, 2, 2, 2)),
    34: (BASIC, (3, 4, 6, 3)),
    50: (BOTTLENECK, (3, 4, 6, 3)),
    101: (BOTTLENECK, (3, 4, 23, 3)),
    152: (BOTTLENECK, (3, 8, 36, 3)),
}
# By name: side and stride of the first convolution, and what follows it.
STEMS: Mapping[str, tuple[int, int, Callable[[Array], Array]]] = {
    "small": (3, 1, lambda x: x),
    "standard": (7, 2, lambda x: max_pool(x, stride=2, side=3, padding=1)),
}


def stages_of(depth: int, channels: int = 64) -> tuple[tuple[int, int, Convolutions], ...]:
    """The four stages of the paper's networks.

    Stage i has channels * 2**i channels, or four times as many in bottlenecks (depth 50 and more).
    The sides of the last map are those of the picture divided by 32, or by 8 with the small stem,
    rounded up.

    Args:
        depth: 10, 18, 34, 50, 101 or 152: number of layers with weights, the classifier included.
        channels: of the first stage; 64 in the paper.

    Raises:
        UserError: an unknown depth.
    """
    if depth not in DEPTHS:
        known = ", ".join(map(str, DEPTHS))
        raise UserError(f"resnet: unknown depth {depth}: choose one of {known}")
    block, repeats = DEPTHS[depth]
    return tuple(
        (count, 2 if stage else 1, tuple((side, f * channels * 2**stage) for side, f in block))
        for stage, count in enumerate(repeats)
    )


class ResidualBlock(NormedLayers):
    """relu(x + convolutions(x)), each convolution with a norm, and a ReLU between them.

    Where the shape changes, x passes a 1x1 convolution and a norm. The first 3x3 convolution has
    the stride (for bottlenecks this is the version "1.5" of torchvision).

    Attributes:
        convolutions: (side, channels of the output) of each.
        stride: factor by which height and width shrink.
    """

    convolutions: Convolutions
    stride: int = 1

    @nn.compact
    def run(self, x: Array, mask: Array | None, deterministic: bool) -> Array:
        """The block."""

        def convolve(x, name, channels, side, stride, activation):
            conv = self.convolution(name, channels, side, stride, activation=activation)
            return conv(x, mask, deterministic=deterministic)

        sides, channels = zip(*self.convolutions, strict=True)
        y = x
        for layer, (side, out) in enumerate(self.convolutions):
            stride = self.stride if layer == sides.index(3) else 1
            act = "identity" if layer == len(sides) - 1 else "relu"
            y = convolve(y, f"conv_{layer}", out, side, stride, act)
        if self.stride != 1 or x.shape[-1] != channels[-1]:
            x = convolve(x, "shortcut", channels[-1], 1, self.stride, "identity")
        return jax.nn.relu(x + y)


class ResNet(MapBackbone):
    """A stem and stages of residual blocks (He et al. 2016, https://arxiv.org/abs/1512.03385).

    Attributes:
        stages: of residual blocks: their number, the stride of the first, and (side, channels of
            the output) of the convolutions of each; see `stages_of`.
        channels: of the stem.
        stem: "standard" (7x7 convolution of stride 2, 3x3 max pooling of stride 2), or "small" for
            small pictures (3x3 convolution of stride 1, no pooling).
    """

    stages: tuple[tuple[int, int, Convolutions], ...]
    channels: int = 64
    stem: str = "standard"

    @nn.compact
    def run(
        self, x: Array, mask: Array | None, deterministic: bool
    ) -> list[Float[Array, "B _ _ _"]]:
        """The maps before the first stage and after each."""
        side, stride, pool = choose(STEMS, self.stem, "stem")
        stem = self.convolution("stem", self.channels, side, stride)
        x = stem(x, mask, deterministic=deterministic)
        stages = ((count, (blocks, stride), (blocks,)) for count, stride, blocks in self.stages)
        return self.staged(pool(x), mask, deterministic, ResidualBlock, stages)
