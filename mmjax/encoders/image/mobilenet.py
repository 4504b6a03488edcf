"""MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381)."""

import flax.linen as nn
from jaxtyping import Array, Float

from mmjax.backbones.vision.mobilenet import MobileNet
from mmjax.encoders.image.grid import ImageNetEncoder

# The paper's table 2: expansion, channels of the output, number of blocks, stride of the first.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
FIRST, LAST = 32, 1280


def scaled(channels: int, multiplier: float) -> int:
    """channels * multiplier, rounded to a multiple of 8 that is not more than 10 % less."""
    exact = channels * multiplier
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * exact else rounded + 8


class MobileNetV2(ImageNetEncoder):
    """uint8 images [R H W 3] -> one token for each cell of the last map, or one for the image.

    The layers are those of torchvision's mobilenet_v2 without the classifier; with the stages of
    the paper the last map is 32 times smaller than the image.

    Attributes:
        width: D of the tokens; a dense layer takes the last channels (1280 or more) there.
        stages: of inverted residual blocks: expansion, channels of the output, number of blocks and
            stride of the first. The default is the paper's table 2.
        width_multiplier: of the channels of all layers (but the last, if it is less than 1).
        norm: "batch" (in training a row's output depends on the other real rows; running statistics
            in the collection "batch_stats"), or "layer" or "none", which do not mix rows, or
            "group", for which a width_multiplier of 2 makes all channels divisible by 16.
    """

    stages: tuple[tuple[int, int, int, int], ...] = STAGES
    width_multiplier: float | int = 1.0
    norm: str = "batch"

    def grid(self, x: Array, rows: Array, deterministic: bool) -> Float[Array, "R y x C"]:
        """The last map."""
        stages = tuple(
            (count, stride, expansion, expansion, scaled(channels, self.width_multiplier))
            for expansion, channels, count, stride in self.stages
        )
        first = scaled(FIRST, self.width_multiplier)
        last = scaled(LAST, max(1.0, self.width_multiplier))
        backbone = MobileNet(stages, first, last, norm=self.norm, dtype=self.dtype)
        nn.share_scope(self, backbone)
        return backbone.encode(x, rows, deterministic=deterministic)[-1]
