"""MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381) as torchvision and timm store
it.

There is no config.json that describes the model: the names and sizes of the tensors say what it is,
and the strides are those of the paper.
"""

import itertools
from collections.abc import Mapping
from typing import Any

from mmjax.backbones.vision.mobilenet import MobileNet
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Spec
from mmjax.interop.architectures.vision import resnet
from mmjax.interop.formats.tensors import Weights
from mmjax.interop.weights.layout import Rules

# The paper's table 2: number of blocks and stride of the first.
COUNTS, STRIDES = (1, 2, 3, 4, 3, 3, 1), (1, 2, 2, 2, 1, 2, 1)
# By library: a convolution and its norm, the last ones, and the classifier.
TORCHVISION = (("features.0.0", "features.0.1"), ("features.18.0", "features.18.1"), "classifier.1")
TIMM = (("conv_stem", "bn1"), ("conv_head", "bn2"), "classifier")
Pairs = Mapping[str, tuple[str, str]]  # our layers of a block -> convolution and norm


def torchvision_block(weights: Weights, place: int) -> Pairs:
    """Of features.PLACE; {} if there is none."""
    start = f"features.{place}.conv"
    if f"{start}.1.weight" in weights:
        numbers = {"depthwise": ("0.0", "0.1"), "project": ("1", "2")}
    elif f"{start}.2.weight" in weights:
        numbers = {"expand": ("0.0", "0.1"), "depthwise": ("1.0", "1.1"), "project": ("2", "3")}
    else:
        return {}
    return {part: (f"{start}.{conv}", f"{start}.{n}") for part, (conv, n) in numbers.items()}


def timm_block(weights: Weights, stage: int, place: int) -> Pairs:
    """Of blocks.STAGE.PLACE; {} if there is none."""
    start = f"blocks.{stage}.{place}"
    if f"{start}.conv_dw.weight" not in weights:
        return {}
    parts = {"depthwise": "dw", "project": "pw"}
    if f"{start}.conv_pwl.weight" in weights:
        parts = {"expand": "pw", "depthwise": "dw", "project": "pwl"}
    return {
        part: (f"{start}.conv_{name}", f"{start}.bn{n}")
        for n, (part, name) in enumerate(parts.items(), start=1)
    }


def blocks_of(weights: Weights, where: str) -> list[list[Pairs]]:
    """By stage.

    Raises:
        UserError: another number of stages, or in torchvision's names of blocks, than the paper's.
    """
    if "conv_stem.weight" in weights:
        stages = []
        for stage in itertools.count():
            found = (timm_block(weights, stage, place) for place in itertools.count())
            stages.append(list(itertools.takewhile(bool, found)))
            if not stages[-1]:
                break
        stages = stages[:-1]
    else:
        found = (torchvision_block(weights, place) for place in itertools.count(1))
        blocks = iter(list(itertools.takewhile(bool, found)))
        stages = [list(itertools.islice(blocks, count)) for count in COUNTS]
        if any(blocks) or not all(stages):
            stages = []
    if len(stages) != len(STRIDES):
        raise UserError(
            f"{where}: its blocks are not those of MobileNetV2's table 2, so that their strides are"
            " not known: mmjax has only the published networks"
        )
    return stages


def stage_of(
    blocks: list[Pairs], stride: int, weights: Weights, where: str
) -> tuple[int, int, int, int, int]:
    """A stage of `mmjax.backbones.vision.mobilenet.MobileNet`."""
    expansions = []
    for pairs in blocks[:2]:
        depthwise = weights[f"{pairs['depthwise'][0]}.weight"].shape
        given = weights[f"{pairs['expand'][0]}.weight"].shape[1] if "expand" in pairs else None
        expansion = 1 if given is None else depthwise[0] / given
        if depthwise[1:] != (1, 3, 3) or expansion != int(expansion):
            raise UserError(
                f"{where}: {pairs['depthwise'][0]!r} has the shape {list(depthwise)}, which no"
                " MobileNetV2 has: mmjax has only the published networks"
            )
        expansions.append(int(expansion))
    out = weights[f"{blocks[0]['project'][0]}.weight"].shape[0]
    return len(blocks), stride, expansions[0], expansions[-1], out


def rules_of(stages: list[list[Pairs]], stem: tuple[str, str], last: tuple[str, str]) -> Rules:
    """The layout of a backbone."""
    rules = resnet.conv_norm("stem", stem, 3)
    for stage, blocks in enumerate(stages):
        for block, pairs in enumerate(blocks):
            for part, pair in pairs.items():
                path = f"stage_{stage}_block_{block}/{part}"
                rules += resnet.conv_norm(path, pair, 1, depthwise=part == "depthwise")
    return rules + resnet.conv_norm("last", last, 1)


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """A MobileNetV2 with or without its classifier."""
    where = str(checkpoint.path)
    resnet.check_variant(checkpoint.config, ("mobilenetv2",), where)
    names = {resnet.parameter(name): tensor for name, tensor in checkpoint.weights.items()}
    names.pop("", None)
    stem, last, classifier = TIMM if "conv_stem.weight" in names else TORCHVISION
    stages = blocks_of(names, where)
    for needed in (f"{stem[0]}.weight", f"{last[0]}.weight"):
        if needed not in names:
            raise UserError(f"{where}: {needed!r} is missing: is the file incomplete?")
    backbone = MobileNet(
        tuple(
            stage_of(blocks, stride, names, where)
            for blocks, stride in zip(stages, STRIDES, strict=True)
        ),
        first=names[f"{stem[0]}.weight"].shape[0],
        last=names[f"{last[0]}.weight"].shape[0],
        image_channels=names[f"{stem[0]}.weight"].shape[1],
        dtype=dtype,
    )
    rules = rules_of(stages, stem, last)
    resnet.check_known(names, rules, where, "MobileNetV2")
    return resnet.with_classifier("mobilenet", backbone, rules, names, classifier, resnet.parameter)


_torchvision = resnet.by_names("features.0.0.weight", "features.1.conv.0.0.weight")
_timm = resnet.by_names("conv_stem.weight", "blocks.0.0.conv_dw.weight")


def recognises(checkpoint: Checkpoint) -> bool:
    """By the names of torchvision or of timm."""
    return _torchvision(checkpoint) or _timm(checkpoint)


SPEC = Spec("mobilenet", recognises, build)
