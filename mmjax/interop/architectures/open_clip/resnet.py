"""The ResNet backbones of open_clip and of OpenAI's CLIP: RN50, RN101, RN50x4 and their like."""

from collections.abc import Mapping
from typing import Any

from mmjax.backbones.dual.dual import Projected
from mmjax.backbones.stack import check_heads
from mmjax.backbones.vision.modified_resnet import ModifiedResNet
from mmjax.errors import UserError
from mmjax.interop.architectures.settings import pair, settings
from mmjax.interop.architectures.vision.resnet import conv_norm
from mmjax.interop.weights.layout import Rules, dense, prefixed, same

VISION = {"layers": None, "width": 768, "head_width": 64, "image_size": 224}
STAGES = 4
SIDES = (1, 3, 1)  # of the convolutions of a block


def rules_of(layers: tuple[int, ...]) -> Rules:
    """The layout of a backbone of so many blocks, below "visual."."""
    rules: Rules = []
    for layer in range(len(SIDES)):
        rules += conv_norm(f"stem_{layer}", (f"conv{layer + 1}", f"bn{layer + 1}"), 3)
    for stage, count in enumerate(layers):
        for block in range(count):
            ours, theirs = f"stage_{stage}_block_{block}", f"layer{stage + 1}.{block}"
            for layer, side in enumerate(SIDES):
                names = (f"{theirs}.conv{layer + 1}", f"{theirs}.bn{layer + 1}")
                rules += conv_norm(f"{ours}/conv_{layer}", names, side)
            if not block:
                names = (f"{theirs}.downsample.0", f"{theirs}.downsample.1")
                rules += conv_norm(f"{ours}/shortcut", names, 1)
    rules += same("pool/positions", "attnpool.positional_embedding")
    for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "c")):
        rules += dense(f"pool/{ours}", f"attnpool.{theirs}_proj")
    return rules


def resnet_backbone(
    config: Mapping[str, Any], width: int, dtype: Any, where: str
) -> tuple[Projected, Rules]:
    """The image backbone, `width` that of its features, and its layout.

    Raises:
        UserError: other than four stages, heads that do not divide, or images of no cell.
    """
    c = settings(config, VISION, where)
    layers = tuple(c.layers)
    if len(layers) != STAGES or any(type(count) is not int or count < 1 for count in layers):
        raise UserError(
            f"{where}: layers={c.layers!r}: a ResNet of open_clip has {STAGES} stages of one block"
            " or more"
        )
    channels = c.width * ModifiedResNet.patch_size[0]
    heads = channels // max(c.head_width, 1)
    check_heads(where, channels, heads)
    sides = zip(pair(c.image_size), ModifiedResNet.patch_size, strict=True)
    grid = tuple(size // side for size, side in sides)
    if 0 in grid:
        raise UserError(f"{where}: image_size={c.image_size!r}: the last map would have no cell")
    backbone = ModifiedResNet(c.width, layers, heads, width, grid, dtype=dtype)
    return Projected(backbone), prefixed(rules_of(layers), "backbone/", "visual.")
