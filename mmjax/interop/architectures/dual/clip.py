"""CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020) as transformers stores it."""

from typing import Any

from mmjax.backbones.text.transformer import TextBackbone
from mmjax.backbones.vision.vit import VisionTransformer
from mmjax.interop.architecture import Architecture, Checkpoint, Spec, has_type
from mmjax.interop.architectures.blocks import modern_blocks
from mmjax.interop.architectures.dual import dual
from mmjax.interop.architectures.dual.dual import Side, text_transformer
from mmjax.interop.architectures.settings import BASE_VIT, patch_sizes, settings, transformer_sizes
from mmjax.interop.weights.layout import Rules, norm, patches, reshaped, same

VISION = BASE_VIT | {
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
TEXT = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
}


def vision_backbone(config: dict, dtype: Any, where: str) -> tuple[VisionTransformer, Rules]:
    """The image backbone, and its layout below "vision_model."."""
    c = settings(config, VISION, where)
    backbone = VisionTransformer(
        **transformer_sizes(c, where),
        **patch_sizes(c),
        dtype=dtype,
        patch_bias=False,
        pre_norm=True,
        final_norm=False,
        pooling="class_norm",
    )
    width = c.hidden_size
    rules = [
        *reshaped("class_token", "embeddings.class_embedding", (1, width), (width,)),
        *patches(
            "patches/projection",
            "embeddings.patch_embedding",
            backbone.patch_size,
            c.num_channels,
            bias=False,
        ),
        *same("positions", "embeddings.position_embedding.weight"),
        *norm("pre_norm", "pre_layrnorm"),
        *modern_blocks("transformer", "encoder.layers", c.num_hidden_layers, width),
        *norm("norm", "post_layernorm"),
    ]
    return backbone, rules


def text_backbone(config: dict, dtype: Any, where: str) -> tuple[TextBackbone, Rules]:
    """The text backbone, and its layout below "text_model."."""
    c = settings(config, TEXT, where)
    return text_transformer(c, dtype, where, causal=True, pooling="end", end_id=c.eos_token_id)


SIDES = (
    Side("image", "vision", "vision_model.", "vision_config", vision_backbone, "visual_projection"),
    Side("text", "text", "text_model.", "text_config", text_backbone, "text_projection"),
)


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """CLIPModel, one of its backbones with or without its projection, or
    CLIPForImageClassification."""
    return dual.build("clip", checkpoint, SIDES, dtype, lead=1)


SPEC = Spec("clip", has_type("clip", "clip_vision_model", "clip_text_model"), build)
