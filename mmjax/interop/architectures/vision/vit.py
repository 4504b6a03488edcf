"""ViT (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929) as transformers stores it."""

import re
from collections.abc import Iterable
from typing import Any

from mmjax.backbones.stack import check_heads
from mmjax.backbones.vision.vit import VisionTransformer
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Part, Spec, has_type, strip
from mmjax.interop.architectures.blocks import classified, repeated
from mmjax.interop.architectures.dual.dual import picture
from mmjax.interop.architectures.settings import (
    BASE_VIT,
    activation,
    patch_sizes,
    settings,
    transformer_sizes,
)
from mmjax.interop.weights.layout import Rules, dense, norm, patches, qkv, reshaped

SETTINGS = BASE_VIT | {
    "patch_size": 16,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "qkv_bias": True,
    "pooler_act": "tanh",
    "head_dim": None,
}
# The names of version 5 of transformers -> those that all versions write.
ATTENTION = (
    (r"attention\.q_proj", "attention.attention.query"),
    (r"attention\.k_proj", "attention.attention.key"),
    (r"attention\.v_proj", "attention.attention.value"),
    (r"attention\.o_proj", "attention.output.dense"),
)
NAMES = (
    (r"^layers\.", "encoder.layer."),
    *ATTENTION,
    (r"mlp\.fc1", "intermediate.dense"),
    (r"mlp\.fc2", "output.dense"),
)


def normalise(name: str) -> str:
    """Without the prefix of models with a head, in the names of version 4."""
    name = strip(("vit.",), name)
    for new, old in NAMES:
        name = re.sub(new, old, name)
    return name


def check_head_size(config: Any, where: str) -> None:
    """Raises UserError if the heads are not the width cut into pieces."""
    check_heads(where, config.hidden_size, config.num_attention_heads)
    usual = config.hidden_size // config.num_attention_heads
    if config.head_dim not in (None, usual):
        raise UserError(
            f"{where}: head_dim={config.head_dim!r} in config.json is not width / heads = {usual}:"
            " mmjax has no such heads"
        )


def attention(width: int, *, bias: bool) -> Rules:
    """Of a block, below "attention"."""
    names = [f"attention.attention.{part}" for part in ("query", "key", "value")]
    return [
        *qkv("attention/qkv", names, width, biased=(bias,) * 3),
        *dense("attention/out", "attention.output.dense"),
    ]


def block(attention: Rules) -> Rules:
    """Of a pre-norm block as version 4 of transformers names it."""
    return [
        *norm("attention_norm", "layernorm_before"),
        *attention,
        *norm("mlp_norm", "layernorm_after"),
        *dense("mlp_in", "intermediate.dense"),
        *dense("mlp_out", "output.dense"),
    ]


def embeddings(names: Iterable[str], width: int, sides: tuple[int, int], channels: int) -> Rules:
    """Of the patches, the learned tokens and the positions, for the names that a file has."""
    one = (1, width)
    rules = [
        *patches("patches/projection", "embeddings.patch_embeddings.projection", sides, channels),
        *reshaped("class_token", "embeddings.cls_token", one, (1, *one)),
    ]
    if "embeddings.mask_token" in names:
        rules += reshaped("mask_token", "embeddings.mask_token", one, (1, *one))
    return rules


def positions(width: int, cells: int) -> Rules:
    """Of the class token and of the cells."""
    count = cells + 1
    return reshaped(
        "positions", "embeddings.position_embeddings", (count, width), (1, count, width)
    )


def with_classifier(
    name: str,
    checkpoint: Checkpoint,
    backbone: VisionTransformer,
    rules: Rules,
    channels: int,
    naming: Any,
) -> Architecture:
    """The backbone, and its classifier if the file has one; `naming`: to normalised names."""
    module, path, rules = classified(backbone, rules, checkpoint.weights)
    shapes = {"pixel_values": picture(backbone, channels)}
    inputs = ("pixel_values", "bool_masked_pos") if backbone.mask_token else ("pixel_values",)
    return Architecture(
        name, module, rules, shapes, naming, {"image": Part(backbone, path)}, inputs
    )


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """ViTModel with or without its pooler, or ViTForImageClassification."""
    where = str(checkpoint.path)
    c = settings(checkpoint.config, SETTINGS, where)
    check_head_size(c, where)
    names = {normalise(name): tensor for name, tensor in checkpoint.weights.items()}
    pooled = "pooler.dense.weight" in names and "classifier.weight" not in names
    backbone = VisionTransformer(
        **transformer_sizes(c, where),
        **patch_sizes(c),
        qkv_bias=c.qkv_bias,
        mask_token="embeddings.mask_token" in names,
        pooling="class_dense" if pooled else "class" if "classifier.weight" in names else None,
        pooler_width=names["pooler.dense.weight"].shape[0] if pooled else None,
        pooler_activation=activation(c.pooler_act, where),
        dtype=dtype,
    )
    width = c.hidden_size
    layer = block(attention(width, bias=c.qkv_bias))
    rules = [
        *embeddings(names, width, backbone.patch_size, c.num_channels),
        *positions(width, backbone.grid[0] * backbone.grid[1]),
        *repeated(layer, "transformer", "encoder.layer", c.num_hidden_layers),
        *norm("transformer/norm", "layernorm"),
        *(dense("pooler", "pooler.dense") if pooled else ()),
    ]
    return with_classifier("vit", checkpoint, backbone, rules, c.num_channels, normalise)


SPEC = Spec("vit", has_type("vit"), build)
