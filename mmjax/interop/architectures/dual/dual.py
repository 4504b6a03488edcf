"""Models of two halves that share a space, or one half of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mmjax.backbones.classifier import Classifier
from mmjax.backbones.dual.dual import DualEncoder, Given, Projected
from mmjax.interop.architecture import Architecture, Checkpoint, Part, input_names, strip
from mmjax.interop.architectures.settings import section
from mmjax.interop.weights.layout import Rules, dense, matrix, prefixed, same
from mmjax.nn.layers.dense import Dense

# What transformers' models of images and texts take.
INPUTS = (
    Given("input_ids", "text"),
    Given("pixel_values", "vision"),
    Given("attention_mask", "text"),
    Given("position_ids", "text"),
)


class Half(NamedTuple):
    """kind: of its input; path: its place in our tree; prefix: in the file; section: of
    config.json; make: (config, type of the computation, where) -> the tower and its layout;
    projection: the name of its projection, in both; embeds: of what that gives.
    """

    kind: str
    path: str
    prefix: str
    section: str
    make: Callable[[Any, Any, str], tuple[Any, Rules]]
    projection: str = ""

    @property
    def embeds(self) -> str:
        return f"{self.kind}_embeds"


def canonical(name: str) -> str:
    """Without the numbers of the positions, which old files hold."""
    return "" if name.endswith("position_ids") else name


def example(towers: dict[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    """Inputs of the sizes that the towers, by kind of input, were made for."""
    inputs = {}
    if "image" in towers:
        inputs["pixel_values"] = picture(towers["image"])
    if "text" in towers:
        inputs["input_ids"] = jax.ShapeDtypeStruct((1, towers["text"].positions), jnp.int32)
    return inputs


def picture(tower: Any, channels: int = 3) -> jax.ShapeDtypeStruct:
    """One of the size that a vision tower was made for."""
    sides = [cells * side for cells, side in zip(tower.grid, tower.patch_size, strict=True)]
    return jax.ShapeDtypeStruct((1, channels, *sides), jnp.float32)


def one_half(family: str, checkpoint: Checkpoint, half: Half, dtype: Any) -> Architecture:
    """One tower, with its projection if the file has it."""
    tower, rules = half.make(checkpoint.config, dtype, str(checkpoint.path))

    def bare(name: str) -> str:
        return canonical(strip((half.prefix,), name))

    module, part = tower, Part(tower)
    weight = f"{half.projection}.weight"
    if weight in checkpoint.weights:
        width = checkpoint.weights[weight].shape[0]
        module = Projected(tower, Dense(width, use_bias=False, dtype=dtype), half.embeds)
        rules = [*prefixed(rules, "tower/"), *matrix("projection", weight)]
        part = Part(tower, "tower")
    shapes = example({half.kind: tower})
    # Neither CLIP nor SigLIP tells kinds of words apart.
    inputs = tuple(name for name in input_names(tower) if name != "token_type_ids")
    parts = {half.kind: part}
    return Architecture(family, module, rules, shapes, bare, parts, inputs)


def classifies(checkpoint: Checkpoint) -> bool:
    """Whether the file has the image half alone, and a classifier of pictures."""
    texts = any(name.startswith("text_model.") for name in checkpoint.weights)
    return "classifier.weight" in checkpoint.weights and not texts


def real_patches(backbone: Any, inputs: Mapping[str, Any], count: int) -> Any:
    """Which patches are there [B N], by the mask of a NaFlex model; None: all are."""
    del backbone, count
    mask = inputs.get("pixel_attention_mask")
    return None if mask is None else mask != 0


def with_classifier(
    family: str,
    checkpoint: Checkpoint,
    part: Part,
    rules: Rules,
    shapes: dict[str, jax.ShapeDtypeStruct],
    dtype: Any,
    *,
    lead: int = 0,
) -> Architecture:
    """The image half and a classifier that reads the mean of its patches.

    Args:
        family, checkpoint: the model.
        part: its image half.
        rules: the layout of it, below "vision_model.".
        shapes: of its inputs.
        dtype: type of the computation.
        lead: tokens before the patches.
    """
    classes = checkpoint.weights["classifier.weight"].shape[0]
    module = Classifier(part.module, classes, dtype, "mean", lead, real_patches)
    rules = [*prefixed(rules, "tower/", "vision_model."), *dense("classifier", "classifier")]
    parts, inputs = {"image": part._replace(path="tower")}, input_names(part.module)
    return Architecture(family, module, rules, shapes, canonical, parts, inputs)


def both_halves(
    family: str,
    checkpoint: Checkpoint,
    halves: Sequence[Half],
    dtype: Any,
    *,
    projected: bool,
    bias: bool,
) -> Architecture:
    """Two towers; `projected`: bias-free projections follow; `bias`: the logits have one."""
    towers, sides, rules = {}, {}, []
    width = checkpoint.config.get("projection_dim", 512) if projected else None
    for half in halves:
        config = section(checkpoint.config, half.section, str(checkpoint.path))
        tower, found = half.make(config, dtype, str(checkpoint.path))
        layer = Dense(width, use_bias=False, dtype=dtype) if projected else None
        towers[half.kind], sides[half.path] = tower, Projected(tower, layer)
        rules += prefixed(found, f"{half.path}/tower/", half.prefix)
        if projected:
            rules += matrix(f"{half.path}/projection", f"{half.projection}.weight")
    for name in ("logit_scale", "logit_bias") if bias else ("logit_scale",):
        rules += same(name, name)
    model = DualEncoder(
        **sides, inputs=INPUTS, bias=bias, scalars=(1,) if bias else (), projected=projected
    )
    parts = {half.kind: Part(towers[half.kind], f"{half.path}/tower") for half in halves}
    return Architecture(family, model, rules, example(towers), canonical, parts)
