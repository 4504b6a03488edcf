"""ResNet (He et al. 2016, https://arxiv.org/abs/1512.03385) as torchvision, timm and transformers
store it.

The first two have no config.json that describes the model, so the names and sizes of the tensors
say what it is. They do not say strides: those of the published networks are taken.
"""

import itertools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mmjax.backbones.vision.resnet import ResNet
from mmjax.encoders.image.pixels import IMAGENET_MEAN, IMAGENET_STD
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Part, Spec, strip
from mmjax.interop.architectures.blocks import classified
from mmjax.interop.architectures.settings import settings
from mmjax.interop.encoding.encoder import images
from mmjax.interop.formats.tensors import Weights
from mmjax.interop.weights.layout import Rule, Rules, convolution, norm, same
from mmjax.nn.layers.batch_norm import STATISTICS

COUNTER = "num_batches_tracked"  # PyTorch starts it at 0 where a file does not have it
PIXELS = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}


class Naming(NamedTuple):
    """Names in the file: the stem and the shortcut as (convolution, norm), a block by stage and
    number, a convolution in it by number, where stages and convolutions count from `first`, and
    the classifier.
    """

    stem: tuple[str, str]
    block: str
    convolution: tuple[str, str]
    shortcut: tuple[str, str]
    classifier: str
    first: int


TORCHVISION = Naming(
    stem=("conv1", "bn1"),
    block="layer{}.{}",
    convolution=("conv{}", "bn{}"),
    shortcut=("downsample.0", "downsample.1"),
    classifier="fc",
    first=1,
)
TRANSFORMERS = Naming(
    stem=("embedder.embedder.convolution", "embedder.embedder.normalization"),
    block="encoder.stages.{}.layers.{}",
    convolution=("layer.{}.convolution", "layer.{}.normalization"),
    shortcut=("shortcut.convolution", "shortcut.normalization"),
    classifier="classifier.1",
    first=0,
)
CONFIG = {
    "hidden_act": "relu",
    "downsample_in_first_stage": False,
    "downsample_in_bottleneck": False,
}
SIDES = ((3, 3), (1, 3, 1))  # of the convolutions of a block


def parameter(name: str) -> str:
    """The name itself; "" for the counter of a batch norm."""
    return "" if name.endswith(COUNTER) else name


def normalise(name: str) -> str:
    """`parameter`, and without the prefix of transformers' models with a classifier."""
    return strip(("resnet.",), parameter(name))


def real_pictures(
    value: jax.Array, mask: jax.Array | None, *, mean: Any, std: Any
) -> tuple[dict[str, jax.Array], jax.Array]:
    """uint8 [R H W 3] -> pixel_values [R 3 H W], and for the batch norms which are real."""
    inputs, rows = images(value, mask, mean=mean, std=std)
    return {**inputs, "real": rows}, rows


def conv_norm(ours: str, theirs: tuple[str, str], side: int, *, depthwise: bool = False) -> Rules:
    """Of `mmjax.nn.layers.conv_norm.ConvNorm`.

    Args:
        ours, theirs: the layer, and the convolution and the batch norm.
        side: of the kernel.
        depthwise: whether each channel is convolved by itself.
    """
    conv, batch_norm = theirs
    if depthwise:
        rules = [
            Rule(
                f"params/{ours}/conv/kernel",
                (f"{conv}.weight",),
                lambda x: x.squeeze(1).transpose(1, 2, 0),
                lambda x: (x.transpose(2, 0, 1)[:, None],),
            )
        ]
    elif side == 1:
        rules = [
            Rule(
                f"params/{ours}/conv/kernel",
                (f"{conv}.weight",),
                lambda x: x.squeeze((2, 3)).T,
                lambda x: (x.T[:, :, None, None],),
            )
        ]
    else:
        rules = convolution(f"{ours}/conv", conv, 2, bias=False)
    return [
        *rules,
        *norm(f"{ours}/norm", batch_norm),
        *same(f"{ours}/norm/mean", f"{batch_norm}.running_mean", collection=STATISTICS),
        *same(f"{ours}/norm/var", f"{batch_norm}.running_var", collection=STATISTICS),
    ]


def stages_of(
    weights: Weights, naming: Naming, first_stride: int, where: str
) -> tuple[tuple[int, int, tuple[tuple[int, int], ...]], ...]:
    """The stages of `ResNet`, by the sizes of the first block of each.

    Raises:
        UserError: blocks of other convolutions than those of the paper.
    """
    stages = []
    for stage in itertools.count():
        found: list[tuple[int, int]] = []
        prefix = naming.block.format(stage + naming.first, "{}")
        for number in itertools.count(naming.first):
            name = f"{prefix}.{naming.convolution[0].format(number)}.weight"
            if name.format(0) not in weights:
                break
            found.append((weights[name.format(0)].shape[2], weights[name.format(0)].shape[0]))
        if not found:
            return tuple(stages)
        if tuple(side for side, _ in found) not in SIDES:
            raise UserError(
                f"{where}: {prefix.format(0)!r} has convolutions of {[s for s, _ in found]} pixels:"
                f" this is no ResNet as published, of {' or '.join(map(str, SIDES))}"
            )
        first = f"{prefix}.{naming.convolution[0].format(naming.first)}.weight"
        count = next(n for n in itertools.count() if first.format(n) not in weights)
        stages.append((count, 2 if stage else first_stride, tuple(found)))
    raise AssertionError


def rules_of(backbone: ResNet, naming: Naming) -> Rules:
    """The layout of a backbone."""
    rules = conv_norm("stem", naming.stem, 7)
    width = backbone.channels
    for stage, (count, stride, convolutions) in enumerate(backbone.stages):
        for block in range(count):
            ours = f"stage_{stage}_block_{block}"
            theirs = naming.block.format(stage + naming.first, block)
            pairs = {"shortcut": (naming.shortcut, 1)} if width != convolutions[-1][1] else {}
            if stride != 1 and not block:
                pairs = {"shortcut": (naming.shortcut, 1)}
            for layer, (side, _) in enumerate(convolutions):
                names = tuple(name.format(layer + naming.first) for name in naming.convolution)
                pairs[f"conv_{layer}"] = (names, side)
            for name, (pair, side) in pairs.items():
                conv, batch_norm = (f"{theirs}.{part}" for part in pair)
                rules += conv_norm(f"{ours}/{name}", (conv, batch_norm), side)
            width = convolutions[-1][1]
    return rules


def check_known(names: Mapping[str, Any], rules: Rules, where: str, kind: str) -> None:
    """Raises UserError for a tensor within the layers of the network that the network has not."""
    known = {name for rule in rules for name in rule.theirs}
    roots = {name.split(".")[0] for name in known}
    odd = [name for name in names if name not in known and name.split(".")[0] in roots]
    if odd:
        raise UserError(
            f"{where}: {odd[0]!r} and {len(odd) - 1} more tensors are no part of a {kind} as"
            " published: mmjax does not have this variant"
        )


def check_variant(config: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raises UserError for a variant of timm's whose difference the tensors do not show."""
    variant = config.get("architecture", known[0])
    if not re.fullmatch(f"({'|'.join(known)})[0-9_]*d?", str(variant)):
        raise UserError(
            f"{where}: architecture {variant!r} in config.json: mmjax has only the plain"
            f" {' and '.join(known)}"
        )


def by_names(*needed: str) -> Any:
    """Recognises a checkpoint without a model_type by tensors that it must have."""

    def recognises(checkpoint: Checkpoint) -> bool:
        if checkpoint.config.get("model_type"):
            return False
        return checkpoint.weights.keys() >= set(needed)

    return recognises


def with_classifier(
    name: str, backbone: Any, rules: Rules, names: Mapping[str, Any], classifier: str, naming: Any
) -> Architecture:
    """The backbone, and its classifier if the file has one; `naming`: to normalised names."""
    encoder = backbone.clone(maps=False)
    module, path, rules = classified(backbone, rules, names, classifier)
    shapes = {
        "pixel_values": jax.ShapeDtypeStruct((1, backbone.image_channels, 64, 64), jnp.float32)
    }
    part = Part(encoder, path, real_pictures, PIXELS)
    parts = {"image": part} if backbone.image_channels == 3 else {}
    return Architecture(name, module, rules, shapes, naming, parts, ("pixel_values",))


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """A ResNet with or without its classifier."""
    where = str(checkpoint.path)
    theirs = checkpoint.config.get("model_type") == "resnet"
    naming, first_stride = TRANSFORMERS if theirs else TORCHVISION, 1
    if theirs:
        c = settings(checkpoint.config, CONFIG, where)
        if c.hidden_act != "relu" or c.downsample_in_bottleneck:
            raise UserError(
                f"{where}: hidden_act={c.hidden_act!r} and downsample_in_bottleneck="
                f"{c.downsample_in_bottleneck} in config.json: mmjax has only 'relu' and False"
            )
        first_stride = 2 if c.downsample_in_first_stage else 1
    else:
        check_variant(checkpoint.config, ("resnet", "wide_resnet"), where)
    names = {normalise(name): tensor for name, tensor in checkpoint.weights.items()}
    names.pop("", None)
    stem = names.get(f"{naming.stem[0]}.weight")
    if stem is None or len(stem.shape) != 4 or stem.shape[2:] != (7, 7):
        raise UserError(
            f"{where}: its first convolution {naming.stem[0]!r} is not one of 7x7 pixels:"
            " mmjax has only ResNets with such a stem"
        )
    backbone = ResNet(
        stages_of(names, naming, first_stride, where),
        stem.shape[0],
        image_channels=stem.shape[1],
        maps=theirs,
        dtype=dtype,
    )
    rules = rules_of(backbone, naming)
    check_known(names, rules, where, "ResNet")
    return with_classifier("resnet", backbone, rules, names, naming.classifier, normalise)


_torchvision = by_names("conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight")


def recognises(checkpoint: Checkpoint) -> bool:
    """By config.json of transformers, else by the names of torchvision and timm."""
    return checkpoint.config.get("model_type") == "resnet" or _torchvision(checkpoint)


SPEC = Spec("resnet", recognises, build)
