"""SigLIP (Zhai et al. 2023, https://arxiv.org/abs/2303.15343) and fixed-resolution SigLIP 2."""

from typing import Any

from mmjax.backbones.text.transformer import TextBackbone
from mmjax.backbones.vision.vit import VisionTransformer
from mmjax.interop.architecture import Architecture, Checkpoint, Spec, has_type
from mmjax.interop.architectures.blocks import modern_blocks
from mmjax.interop.architectures.dual import clip, dual
from mmjax.interop.architectures.dual.dual import Side, text_transformer
from mmjax.interop.architectures.settings import patch_sizes, settings, transformer_sizes
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


def vision_backbone(config: dict, dtype: Any, where: str) -> tuple[VisionTransformer, Rules]:
    """The image backbone, and its layout below "vision_model."."""
    c = settings(config, VISION, where)
    backbone = VisionTransformer(
        **transformer_sizes(c, where),
        **patch_sizes(c),
        dtype=dtype,
        class_token=False,
        pooling="attention" if c.vision_use_head else None,
    )
    rules = [
        *patches(
            "patches/projection", "embeddings.patch_embedding", backbone.patch_size, c.num_channels
        ),
        *same("positions", "embeddings.position_embedding.weight"),
        *modern_blocks("transformer", "encoder.layers", c.num_hidden_layers, c.hidden_size),
        *norm("transformer/norm", "post_layernorm"),
        *(head() if c.vision_use_head else ()),
    ]
    return backbone, rules


def text_backbone(config: dict, dtype: Any, where: str) -> tuple[TextBackbone, Rules]:
    """The text backbone, and its layout below "text_model."."""
    c = settings(config, TEXT, where)
    backbone, rules = text_transformer(
        c, dtype, where, pooling="last", head_width=c.projection_size
    )
    return backbone, [*rules, *dense("head", "head")]


SIDES = (
    Side("image", "vision", "vision_model.", "vision_config", vision_backbone),
    Side("text", "text", "text_model.", "text_config", text_backbone),
)


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """SiglipModel, one of its backbones, or SiglipForImageClassification."""
    return dual.build("siglip", checkpoint, SIDES, dtype, bias=True)


SPEC = Spec("siglip", has_type("siglip", "siglip_vision_model", "siglip_text_model"), build)
