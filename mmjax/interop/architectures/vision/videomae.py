"""VideoMAE (Tong et al. 2022, https://arxiv.org/abs/2203.12602) as transformers stores it."""

import re
from typing import Any

from mmjax.backbones.vision.video_mae import VideoMae
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Spec, has_type, strip
from mmjax.interop.architectures.blocks import repeated
from mmjax.interop.architectures.settings import BASE_VIT, pair, settings, transformer_sizes
from mmjax.interop.architectures.vision import vit, vivit
from mmjax.interop.weights.layout import dense, norm, patches, qkv

SETTINGS = BASE_VIT | {
    "patch_size": 16,
    "num_frames": 16,
    "tubelet_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "qv_bias": True,
    "use_mean_pooling": True,
    "head_dim": None,
}
POOLED_EPSILON = 1e-5  # PyTorch's own, of fc_norm
# Version 4 of transformers has the biases beside the layers.
BIASES = ((r"attention\.q_bias$", "attention.query.bias"),)
BIASES += ((r"attention\.v_bias$", "attention.value.bias"),)


def normalise(name: str) -> str:
    """Without the prefix of models with a head, in the names of version 5."""
    name = strip(("videomae.",), name)
    for old, new in BIASES:
        name = re.sub(old, new, name)
    return "" if name.endswith("position_embeddings") and "decoder" not in name else name


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """VideoMAEModel or VideoMAEForVideoClassification; a decoder of pixels is left over."""
    where = str(checkpoint.path)
    config = dict(checkpoint.config)
    if "qkv_bias" in config:  # what transformers also takes for qv_bias
        config["qv_bias"] = config["qkv_bias"]
    c = settings(config, SETTINGS, where)
    vit.check_head_size(c, where)
    names = {normalise(name): tensor for name, tensor in checkpoint.weights.items()}
    classifies = "classifier.weight" in names
    normed = "layernorm.weight" in names
    if normed == c.use_mean_pooling:
        raise UserError(
            f"{where}: use_mean_pooling={c.use_mean_pooling} in config.json, but the file has"
            f" {'a' if normed else 'no'} layernorm.weight: config.json is of another model"
        )
    pooling = "mean" if c.use_mean_pooling else "first"
    width = c.hidden_size
    backbone = VideoMae(
        **transformer_sizes(c, where),
        **vivit.sizes(c, (c.tubelet_size, *pair(c.patch_size)), where),
        image_channels=c.num_channels,
        qkv_bias=c.qv_bias,
        final_norm=normed,
        pooling=pooling if classifies else None,
        pooled_epsilon=POOLED_EPSILON,
        dtype=dtype,
    )
    layers = [f"attention.attention.{part}" for part in ("query", "key", "value")]
    attention = [
        *qkv("attention/qkv", layers, width, biased=(c.qv_bias, False, c.qv_bias)),
        *dense("attention/out", "attention.output.dense"),
    ]
    embedding = "embeddings.patch_embeddings.projection"
    rules = [
        *patches("tubelets/projection", embedding, backbone.tubelet, c.num_channels),
        *repeated(vit.block(attention), "", "encoder.layer", c.num_hidden_layers),
        *(norm("norm", "layernorm") if normed else ()),
        *(norm("norm", "fc_norm") if backbone.pooling == "mean" else ()),
    ]
    inputs = ("pixel_values",)
    return vivit.with_classifier("videomae", backbone, rules, names, normalise, inputs)


SPEC = Spec("videomae", has_type("videomae"), build)
