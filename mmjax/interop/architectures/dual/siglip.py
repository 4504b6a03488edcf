"""SigLIP (Zhai et al. 2023, https://arxiv.org/abs/2303.15343) and fixed-resolution SigLIP 2."""

from typing import Any

from mmjax.backbones.stack import check_heads
from mmjax.backbones.text.text import TextTower
from mmjax.backbones.vision.vit import VisionTransformer
from mmjax.interop.architecture import Architecture, Checkpoint, Family, Part, has_type
from mmjax.interop.architectures.blocks import modern_blocks
from mmjax.interop.architectures.dual import clip
from mmjax.interop.architectures.dual.dual import (
    Half,
    both_halves,
    classifies,
    example,
    one_half,
    with_classifier,
)
from mmjax.interop.architectures.settings import (
    activation,
    patch_sizes,
    section,
    settings,
    transformer_sizes,
)
from mmjax.interop.weights.layout import Rules, dense, norm, patches, same, transposed

VISION = clip.VISION | {
    "patch_size": 16,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
    "vision_use_head": True,
}
TEXT = clip.TEXT | {
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "max_position_embeddings": 64,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
    "projection_size": None,
}


def head() -> Rules:
    """Of `mmjax.backbones.vision.pooling.AttentionHead`."""
    return [
        *same("head/probe", "head.probe"),
        *transposed("head/qkv_kernel", "head.attention.in_proj_weight", (1, 0)),
        *same("head/qkv_bias", "head.attention.in_proj_bias"),
        *dense("head/out", "head.attention.out_proj"),
        *norm("head/norm", "head.layernorm"),
        *dense("head/mlp_in", "head.mlp.fc1"),
        *dense("head/mlp_out", "head.mlp.fc2"),
    ]


def vision_tower(config: dict, dtype: Any, where: str) -> tuple[VisionTransformer, Rules]:
    """The image half, and its layout below "vision_model."."""
    c = settings(config, VISION, where)
    tower = VisionTransformer(
        **transformer_sizes(c, where),
        **patch_sizes(c),
        class_token=False,
        pooling="attention" if c.vision_use_head else None,
        dtype=dtype,
    )
    rules = [
        *patches(
            "patches/projection", "embeddings.patch_embedding", tower.patch_size, c.num_channels
        ),
        *same("positions", "embeddings.position_embedding.weight"),
        *modern_blocks("transformer", "encoder.layers", c.num_hidden_layers, c.hidden_size),
        *norm("transformer/norm", "post_layernorm"),
        *(head() if c.vision_use_head else ()),
    ]
    return tower, rules


def text_tower(config: dict, dtype: Any, where: str) -> tuple[TextTower, Rules]:
    """The text half, and its layout below "text_model."."""
    c = settings(config, TEXT, where)
    check_heads(where, c.hidden_size, c.num_attention_heads)
    tower = TextTower(
        width=c.hidden_size,
        layers=c.num_hidden_layers,
        heads=c.num_attention_heads,
        mlp_width=c.intermediate_size,
        vocabulary_size=c.vocab_size,
        positions=c.max_position_embeddings,
        activation=activation(c.hidden_act, where),
        epsilon=c.layer_norm_eps,
        pooling="last",
        head_width=c.projection_size,
        dtype=dtype,
    )
    rules = [
        *same("words", "embeddings.token_embedding.weight"),
        *same("positions", "embeddings.position_embedding.weight"),
        *modern_blocks("blocks", "encoder.layers", c.num_hidden_layers, c.hidden_size),
        *norm("norm", "final_layer_norm"),
        *dense("head", "head"),
    ]
    return tower, rules


HALVES = (
    Half("image", "vision", "vision_model.", "vision_config", vision_tower),
    Half("text", "text", "text_model.", "text_config", text_tower),
)


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """SiglipModel, one half, or SiglipForImageClassification, as config.json and the file say."""
    kind = checkpoint.config["model_type"]
    for half in HALVES:
        if kind == f"siglip_{half.path}_model":
            return one_half("siglip", checkpoint, half, dtype)
    if classifies(checkpoint):
        where = str(checkpoint.path)
        config = section(checkpoint.config, "vision_config", where)
        tower, rules = vision_tower(config, dtype, where)
        shapes = example({"image": tower})
        return with_classifier("siglip", checkpoint, Part(tower), rules, shapes, dtype)
    return both_halves("siglip", checkpoint, HALVES, dtype, projected=False, bias=True)


FAMILY = Family("siglip", has_type("siglip", "siglip_vision_model", "siglip_text_model"), build)
