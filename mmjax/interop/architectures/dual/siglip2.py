"""SigLIP 2 NaFlex (Tschannen et al. 2025, https://arxiv.org/abs/2502.14786) as transformers stores
it. Those of a fixed resolution are stored as SigLIP."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.backbones.dual.dual import DualEncoder, Given, Projected
from mmjax.backbones.vision.naflex import NaFlexViT
from mmjax.errors import UserError
from mmjax.interop.architecture import (
    Architecture,
    Checkpoint,
    Part,
    Spec,
    has_type,
    input_names,
    strip,
)
from mmjax.interop.architectures.blocks import modern_blocks
from mmjax.interop.architectures.dual import siglip
from mmjax.interop.architectures.dual.dual import (
    INPUTS,
    classifies,
    normalise,
    one_side,
    with_classifier,
)
from mmjax.interop.architectures.settings import section, settings, transformer_sizes
from mmjax.interop.encoding.encoder import images
from mmjax.interop.weights.layout import Rules, dense, norm, prefixed, same
from mmjax.nn.layers.embedding import fold_patches

VISION = {key: value for key, value in siglip.VISION.items() if key != "image_size"}
VISION |= {"hidden_size": 768, "num_patches": 256}
PIXELS = {"mean": (0.5,) * 3, "std": (0.5,) * 3}  # what all published ones are normalised by


def patched(
    value: jax.Array, mask: jax.Array | None, *, mean: Any, std: Any, side: int
) -> tuple[dict[str, jax.Array], jax.Array]:
    """uint8 [R H W 3] -> the inputs of a `NaFlexViT`, and which pictures are real.

    Raises:
        UserError: sides that are no multiples of a patch's.
    """
    inputs, rows = images(value, mask, mean=mean, std=std)
    grid = fold_patches(jnp.moveaxis(inputs["pixel_values"], 1, 3), side)
    count = grid.shape[1] * grid.shape[2]
    shapes = jnp.broadcast_to(jnp.array(grid.shape[1:3]), (len(value), 2))
    patches = grid.reshape(len(value), count, -1)
    return {
        "pixel_values": patches,
        "pixel_attention_mask": jnp.ones((len(value), count), bool),
        "spatial_shapes": shapes,
    }, rows


def vision_backbone(config: Any, dtype: Any, where: str) -> tuple[NaFlexViT, Part, Rules]:
    """The image backbone, how raw images enter it, and its layout below "vision_model.".

    Raises:
        UserError: positions of no square grid, or patches that are not square.
    """
    c = settings(config, VISION, where)
    side = math.isqrt(c.num_patches)
    if side**2 != c.num_patches or not isinstance(c.patch_size, int):
        raise UserError(
            f"{where}: num_patches={c.num_patches} and patch_size={c.patch_size} in config.json:"
            " the positions must be of a square grid, and the patches square"
        )
    backbone = NaFlexViT(
        **transformer_sizes(c, where),
        dtype=dtype,
        features=c.num_channels * c.patch_size**2,
        side=side,
        head=c.vision_use_head,
    )
    rules = [
        *dense("patches", "embeddings.patch_embedding"),
        *same("positions", "embeddings.position_embedding.weight"),
        *modern_blocks("blocks", "encoder.layers", c.num_hidden_layers, c.hidden_size),
        *norm("norm", "post_layernorm"),
        *(siglip.head() if c.vision_use_head else ()),
    ]
    return backbone, Part(backbone, "", patched, PIXELS | {"side": c.patch_size}), rules


def example(backbone: NaFlexViT) -> dict[str, jax.ShapeDtypeStruct]:
    """One picture of the grid that the positions were learned for."""
    count = backbone.side**2
    return {
        "pixel_values": jax.ShapeDtypeStruct((1, count, backbone.features), jnp.float32),
        "pixel_attention_mask": jax.ShapeDtypeStruct((1, count), jnp.int32),
        "spatial_shapes": jax.ShapeDtypeStruct((1, 2), jnp.int32),
    }


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """Siglip2Model, one of its backbones, or Siglip2ForImageClassification."""
    where, kind = str(checkpoint.path), checkpoint.config["model_type"]
    text = siglip.SIDES[1]
    if kind == "siglip2_text_model":
        return one_side("siglip2", checkpoint, text, dtype)
    if kind == "siglip2_vision_model":
        backbone, part, rules = vision_backbone(checkpoint.config, dtype, where)

        def bare(name: str) -> str:
            return normalise(strip(("vision_model.",), name))

        shapes, inputs = example(backbone), input_names(backbone)
        return Architecture("siglip2", backbone, rules, shapes, bare, {"image": part}, inputs)
    vision, part, rules = vision_backbone(
        section(checkpoint.config, "vision_config", where), dtype, where
    )
    if classifies(checkpoint):
        return with_classifier("siglip2", checkpoint, part, rules, example(vision), dtype)
    if not vision.head:
        raise UserError(
            f"{where}: vision_use_head=false in config.json: without its head the images have no"
            " embeddings to compare with those of texts"
        )
    config = section(checkpoint.config, "text_config", where)
    words, text_rules = siglip.text_backbone(config, dtype, where)
    rules = [
        *prefixed(rules, "vision/backbone/", "vision_model."),
        *prefixed(text_rules, "text/backbone/", "text_model."),
        *same("logit_scale", "logit_scale"),
        *same("logit_bias", "logit_bias"),
    ]
    shapes = {"input_ids": jax.ShapeDtypeStruct((1, words.positions), jnp.int32)}
    parts = {"image": part._replace(path="vision/backbone"), "text": Part(words, "text/backbone")}
    beside = tuple(Given(name, "vision") for name in ("pixel_attention_mask", "spatial_shapes"))
    model = DualEncoder(
        Projected(words), Projected(vision), inputs=INPUTS + beside, bias=True, scalars=(1,)
    )
    return Architecture("siglip2", model, rules, shapes | example(vision), normalise, parts)


SPEC = Spec("siglip2", has_type("siglip2", "siglip2_vision_model", "siglip2_text_model"), build)
