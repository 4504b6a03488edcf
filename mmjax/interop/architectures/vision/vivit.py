"""ViViT (Arnab et al. 2021, https://arxiv.org/abs/2103.15691) as transformers stores it."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.backbones.vision.vivit import Vivit
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Part, Spec, has_type, strip
from mmjax.interop.architectures.blocks import classified, repeated
from mmjax.interop.architectures.settings import (
    BASE_VIT,
    activation,
    pair,
    settings,
    transformer_sizes,
)
from mmjax.interop.architectures.vision import vit
from mmjax.interop.weights.layout import Rules, dense, norm, patches, reshaped

SETTINGS = BASE_VIT | {
    "num_frames": 32,
    "tubelet_size": None,
    "hidden_act": "gelu_fast",
    "layer_norm_eps": 1e-6,
    "qkv_bias": True,
    "pooler_act": "tanh",
    "head_dim": None,
}
MAX_POSITIONS = 2**25  # numbers in a table of places, half a GiB while it is made
FAST = {"gelu_fast": "gelu_new"}  # the same function


def normalise(name: str) -> str:
    """Without the prefix of models with a head, in the names of version 4."""
    return vit.normalise(strip(("vivit.",), name))


def sizes(config: Any, tubelet: Any, where: str) -> dict[str, tuple[int, int, int]]:
    """The clip and the tubelet of a backbone.

    Raises:
        UserError: no three whole numbers, or a clip smaller than a tubelet.
    """
    clip = (config.num_frames, *pair(config.image_size))
    good = isinstance(tubelet, (list, tuple)) and len(tubelet) == 3
    good = good and all(isinstance(side, int) and side > 0 for side in tubelet)
    if not good or any(c < side for c, side in zip(clip, tubelet, strict=True)):
        raise UserError(
            f"{where}: tubelets of {tubelet!r} do not fit into clips of {list(clip)}: is"
            " config.json damaged?"
        )
    count = math.prod(length // side for length, side in zip(clip, tubelet, strict=True))
    if count * config.hidden_size > MAX_POSITIONS:
        raise UserError(
            f"{where}: clips of {list(clip)} are {count} tubelets of {list(tubelet)}, whose"
            f" positions are over {MAX_POSITIONS} numbers: is config.json damaged?"
        )
    return {"clip": clip, "tubelet": tuple(tubelet)}


def with_classifier(
    name: str,
    backbone: Any,
    rules: Rules,
    names: Mapping[str, Any],
    naming: Any,
    inputs: tuple[str, ...],
) -> Architecture:
    """The backbone, and its classifier if the file has one; `naming`: to normalised names."""
    module, path, rules = classified(backbone, rules, names)
    frames, *size = backbone.clip
    shape = jax.ShapeDtypeStruct((1, frames, backbone.image_channels, *size), jnp.float32)
    shapes = {"pixel_values": shape}
    return Architecture(
        name, module, rules, shapes, naming, {"video": Part(backbone, path)}, inputs
    )


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """VivitModel with or without its pooler, or VivitForVideoClassification."""
    where = str(checkpoint.path)
    c = settings(checkpoint.config, SETTINGS, where)
    c.hidden_act, c.pooler_act = (FAST.get(name, name) for name in (c.hidden_act, c.pooler_act))
    vit.check_head_size(c, where)
    given = (2, 16, 16) if c.tubelet_size is None else c.tubelet_size
    names = {normalise(name): tensor for name, tensor in checkpoint.weights.items()}
    classifies = "classifier.weight" in names
    pooled = "pooler.dense.weight" in names and not classifies
    width = c.hidden_size
    backbone = Vivit(
        **transformer_sizes(c, where),
        **sizes(c, given, where),
        image_channels=c.num_channels,
        qkv_bias=c.qkv_bias,
        pooling="class" if classifies else "class_dense" if pooled else None,
        pooler_width=names["pooler.dense.weight"].shape[0] if pooled else None,
        pooler_activation=activation(c.pooler_act, where),
        dtype=dtype,
    )
    count = math.prod(t // side for t, side in zip(backbone.clip, backbone.tubelet, strict=True))
    embedding = "embeddings.patch_embeddings.projection"
    rules = [
        *patches("tubelets/projection", embedding, backbone.tubelet, c.num_channels),
        *reshaped("stack/class_token", "embeddings.cls_token", (1, width), (1, 1, width)),
        *vit.positions(width, count),
        *repeated(
            vit.block(vit.attention(width, bias=c.qkv_bias)),
            "stack/transformer",
            "encoder.layer",
            c.num_hidden_layers,
        ),
        *norm("stack/transformer/norm", "layernorm"),
        *(dense("pooler", "pooler.dense") if pooled else ()),
    ]
    inputs = ("pixel_values", "attention_mask")
    return with_classifier("vivit", backbone, rules, names, normalise, inputs)


SPEC = Spec("vivit", has_type("vivit"), build)
