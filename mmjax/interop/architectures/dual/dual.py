"""Models of images and texts in one space, or one of their backbones."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mmjax.backbones.classifier import Classifier
from mmjax.backbones.dual.dual import DualEncoder, Given, Projected
from mmjax.backbones.text.transformer import TextBackbone
from mmjax.interop.architecture import Architecture, Checkpoint, Part, input_names, strip
from mmjax.interop.architectures.blocks import modern_blocks
from mmjax.interop.architectures.settings import section, transformer_sizes
from mmjax.interop.weights.layout import Rules, dense, matrix, norm, prefixed, same
from mmjax.nn.layers.dense import Dense

# What transformers' models of images and texts take.
INPUTS = (
    Given("input_ids", "text"),
    Given("pixel_values", "vision"),
    Given("attention_mask", "text"),
    Given("position_ids", "text"),
)


class Side(NamedTuple):
    """One of the backbones of a model.

    kind: of its input; path: its place in our tree; prefix: in the file; section: of config.json;
    make: (config, type of the computation, where) -> the backbone and its layout; projection: the
    name of its projection in the file.
    """

    kind: str
    path: str
    prefix: str
    section: str
    make: Callable[[Any, Any, str], tuple[Any, Rules]]
    projection: str = ""


def text_transformer(
    c: SimpleNamespace, dtype: Any, where: str, **options: Any
) -> tuple[TextBackbone, Rules]:
    """The text transformer, and its layout below "text_model."; `options`: its pooling."""
    backbone = TextBackbone(
        **transformer_sizes(c, where),
        dtype=dtype,
        vocabulary_size=c.vocab_size,
        positions=c.max_position_embeddings,
        **options,
    )
    rules = [
        *same("words/embedding", "embeddings.token_embedding.weight"),
        *same("positions/embedding", "embeddings.position_embedding.weight"),
        *modern_blocks("transformer", "encoder.layers", c.num_hidden_layers, c.hidden_size),
        *norm("transformer/norm", "final_layer_norm"),
    ]
    return backbone, rules


def normalise(name: str) -> str:
    """Without the numbers of the positions, which old files hold."""
    return "" if name.endswith("position_ids") else name


def example(backbones: dict[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    """Inputs of the sizes that the backbones, by kind of input, were made for."""
    inputs = {}
    if "image" in backbones:
        inputs["pixel_values"] = picture(backbones["image"])
    if "text" in backbones:
        inputs["input_ids"] = jax.ShapeDtypeStruct((1, backbones["text"].positions), jnp.int32)
    return inputs


def picture(backbone: Any, channels: int = 3) -> jax.ShapeDtypeStruct:
    """One of the size that a vision backbone was made for."""
    sides = [cells * side for cells, side in zip(backbone.grid, backbone.patch_size, strict=True)]
    return jax.ShapeDtypeStruct((1, channels, *sides), jnp.float32)


def one_side(name: str, checkpoint: Checkpoint, side: Side, dtype: Any) -> Architecture:
    """One backbone, with its projection if the file has it."""
    backbone, rules = side.make(checkpoint.config, dtype, str(checkpoint.path))

    def bare(name: str) -> str:
        return normalise(strip((side.prefix,), name))

    module, part = backbone, Part(backbone)
    weight = f"{side.projection}.weight"
    if weight in checkpoint.weights:
        layer = Dense(checkpoint.weights[weight].shape[0], use_bias=False, dtype=dtype)
        module, part = Projected(backbone, layer, f"{side.kind}_embeds"), Part(backbone, "backbone")
        rules = [*prefixed(rules, "backbone/"), *matrix("projection", weight)]
    # Neither CLIP nor SigLIP tells kinds of words apart.
    inputs = tuple(name for name in input_names(backbone) if name != "token_type_ids")
    shapes = example({side.kind: backbone})
    return Architecture(name, module, rules, shapes, bare, {side.kind: part}, inputs)


def classifies(checkpoint: Checkpoint) -> bool:
    """Whether the file has the image backbone alone, and a classifier of images."""
    texts = any(name.startswith("text_model.") for name in checkpoint.weights)
    return "classifier.weight" in checkpoint.weights and not texts


def real_patches(backbone: Any, inputs: Mapping[str, Any], count: int) -> Any:
    """Which patches are there [B N], by the mask of a NaFlex model; None: all are."""
    del backbone, count
    mask = inputs.get("pixel_attention_mask")
    return None if mask is None else mask != 0


def with_classifier(
    name: str,
    checkpoint: Checkpoint,
    part: Part,
    rules: Rules,
    shapes: dict[str, jax.ShapeDtypeStruct],
    dtype: Any,
    *,
    lead: int = 0,
) -> Architecture:
    """The image backbone and a classifier that reads the mean of its patches.

    Args:
        name, checkpoint: the model.
        part: its image backbone.
        rules: the layout of it, below "vision_model.".
        shapes: of its inputs.
        dtype: type of the computation.
        lead: tokens before the patches.
    """
    classes = checkpoint.weights["classifier.weight"].shape[0]
    module = Classifier(part.module, classes, dtype, "mean", lead, real_patches)
    rules = [*prefixed(rules, "backbone/", "vision_model."), *dense("classifier", "classifier")]
    parts, inputs = {"image": part._replace(path="backbone")}, input_names(part.module)
    return Architecture(name, module, rules, shapes, normalise, parts, inputs)


def both_sides(
    name: str, checkpoint: Checkpoint, sides: Sequence[Side], dtype: Any, *, bias: bool
) -> Architecture:
    """Both backbones, with their bias-free projections if they have them.

    Args:
        name, checkpoint: the model.
        sides: its backbones.
        dtype: type of the computation.
        bias: whether the logits have one.
    """
    backbones, projected, rules = {}, {}, []
    for side in sides:
        config = section(checkpoint.config, side.section, str(checkpoint.path))
        backbones[side.kind], found = side.make(config, dtype, str(checkpoint.path))
        rules += prefixed(found, f"{side.path}/backbone/", side.prefix)
        layer = None
        if side.projection:
            layer = Dense(checkpoint.config.get("projection_dim", 512), False, dtype)
            rules += matrix(f"{side.path}/projection", f"{side.projection}.weight")
        projected[side.path] = Projected(backbones[side.kind], layer)
    for scalar in ("logit_scale", "logit_bias")[: 1 + bias]:
        rules += same(scalar, scalar)
    scalars = (1,) if bias else ()
    model = DualEncoder(**projected, inputs=INPUTS, bias=bias, scalars=scalars, projected=True)
    parts = {side.kind: Part(backbones[side.kind], f"{side.path}/backbone") for side in sides}
    return Architecture(name, model, rules, example(backbones), normalise, parts)


def build(
    name: str,
    checkpoint: Checkpoint,
    sides: Sequence[Side],
    dtype: Any,
    *,
    bias: bool = False,
    lead: int = 0,
) -> Architecture:
    """A model of images and texts, one of its backbones, or a classifier of images, as config.json
    and the file say; for the arguments see `both_sides` and `with_classifier`."""
    kind, where = checkpoint.config["model_type"], str(checkpoint.path)
    for side in sides:
        if kind == f"{name}_{side.path}_model":
            return one_side(name, checkpoint, side, dtype)
    if not classifies(checkpoint):
        return both_sides(name, checkpoint, sides, dtype, bias=bias)
    image = next(side for side in sides if side.kind == "image")
    config = section(checkpoint.config, image.section, where)
    backbone, rules = image.make(config, dtype, where)
    shapes = example({"image": backbone})
    return with_classifier(name, checkpoint, Part(backbone), rules, shapes, dtype, lead=lead)
