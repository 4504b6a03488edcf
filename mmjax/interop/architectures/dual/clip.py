"""CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020) as transformers stores it."""

from typing import Any

from mmjax.backbones.stack import check_heads
from mmjax.backbones.text.text import TextTower
from mmjax.backbones.vision.vit import VisionTransformer
from mmjax.interop.architecture import Architecture, Checkpoint, Family, Part, has_type
from mmjax.interop.architectures.blocks import modern_blocks
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
from mmjax.interop.weights.layout import Rules, norm, patches, reshaped, same

VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
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


def vision_tower(config: dict, dtype: Any, where: str) -> tuple[VisionTransformer, Rules]:
    """The image half, and its layout below "vision_model."."""
    c = settings(config, VISION, where)
    tower = VisionTransformer(
        **transformer_sizes(c, where),
        **patch_sizes(c),
        patch_bias=False,
        pre_norm=True,
        final_norm=False,
        pooling="class_norm",
        dtype=dtype,
    )
    width = c.hidden_size
    rules = [
        *reshaped("class_token", "embeddings.class_embedding", (1, width), (width,)),
        *patches(
            "patches/projection",
            "embeddings.patch_embedding",
            tower.patch_size,
            c.num_channels,
            bias=False,
        ),
        *same("positions", "embeddings.position_embedding.weight"),
        *norm("pre_norm", "pre_layrnorm"),
        *modern_blocks("transformer", "encoder.layers", c.num_hidden_layers, width),
        *norm("norm", "post_layernorm"),
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
        causal=True,
        pooling="end",
        end_id=c.eos_token_id,
        dtype=dtype,
    )
    rules = [
        *same("words", "embeddings.token_embedding.weight"),
        *same("positions", "embeddings.position_embedding.weight"),
        *modern_blocks("blocks", "encoder.layers", c.num_hidden_layers, c.hidden_size),
        *norm("norm", "final_layer_norm"),
    ]
    return tower, rules


HALVES = (
    Half("image", "vision", "vision_model.", "vision_config", vision_tower, "visual_projection"),
    Half("text", "text", "text_model.", "text_config", text_tower, "text_projection"),
)


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """CLIPModel, one half with or without its projection, or CLIPForImageClassification, as
    config.json and the file say."""
    kind = checkpoint.config["model_type"]
    for half in HALVES:
        if kind == f"clip_{half.path}_model":
            return one_half("clip", checkpoint, half, dtype)
    if classifies(checkpoint):
        where = str(checkpoint.path)
        config = section(checkpoint.config, "vision_config", where)
        tower, rules = vision_tower(config, dtype, where)
        shapes = example({"image": tower})
        return with_classifier("clip", checkpoint, Part(tower), rules, shapes, dtype, lead=1)
    return both_halves("clip", checkpoint, HALVES, dtype, projected=True, bias=False)


FAMILY = Family("clip", has_type("clip", "clip_vision_model", "clip_text_model"), build)
