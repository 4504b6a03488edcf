"""AST, the audio spectrogram transformer (Gong et al. 2021, https://arxiv.org/abs/2104.01778)."""

from typing import Any

import jax
import jax.numpy as jnp

from mmjax.interop.architecture import (
    Architecture,
    Checkpoint,
    Family,
    Part,
    has_type,
    input_names,
    strip,
)
from mmjax.interop.families.blocks import repeated
from mmjax.interop.families.settings import activation, settings
from mmjax.interop.layout import Rules, convolution, dense, norm, prefixed, qkv, reshaped
from mmjax.interop.towers.spectrogram import SpectrogramClassifier, SpectrogramTower
from mmjax.interop.towers.stack import check_heads
from mmjax.types import UserError

CONFIG = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "patch_size": 16,
    "qkv_bias": True,
    "frequency_stride": 10,
    "time_stride": 10,
    "max_length": 1024,
    "num_mel_bins": 128,
    "head_dim": None,
}
# What transformers 5 calls in memory, and what it and version 4 write.
RENAMED = (
    ("attention.q_proj", "attention.attention.query"),
    ("attention.k_proj", "attention.attention.key"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
)


def canonical(name: str) -> str:
    """As version 4 of transformers names the parameters of ASTModel; the head keeps its name."""
    name = strip(("audio_spectrogram_transformer.",), name)
    if name.startswith("layers."):
        name = f"encoder.layer.{name.removeprefix('layers.')}"
        for new, old in RENAMED:
            name = name.replace(f".{new}.", f".{old}.")
    return name


def tower_of(config: Any, dtype: Any, where: str) -> tuple[SpectrogramTower, Rules]:
    """The module and its layout.

    Raises:
        UserError: a config that the original cannot run either.
    """
    c = settings(config, CONFIG, where)
    check_heads(where, c.hidden_size, c.num_attention_heads)
    if c.head_dim not in (None, c.hidden_size // c.num_attention_heads):
        raise UserError(
            f"{where}: head_dim={c.head_dim!r} in config.json is not hidden_size /"
            " num_attention_heads, and mmjax has no such attention"
        )
    sizes = (c.patch_size, c.frequency_stride, c.time_stride)
    fits = all(isinstance(size, int) and size > 0 for size in sizes)
    if not fits or c.patch_size > min(c.num_mel_bins, c.max_length):
        raise UserError(
            f"{where}: patch_size={c.patch_size!r}, frequency_stride={c.frequency_stride!r} and"
            f" time_stride={c.time_stride!r} in config.json give no patches of"
            f" {c.num_mel_bins} bins and {c.max_length} frames: is the file damaged?"
        )
    width, side, biased = c.hidden_size, c.patch_size, c.qkv_bias
    tower = SpectrogramTower(
        width=width,
        layers=c.num_hidden_layers,
        heads=c.num_attention_heads,
        mlp_width=c.intermediate_size,
        bins=c.num_mel_bins,
        frames=c.max_length,
        patch_size=side,
        strides=(c.frequency_stride, c.time_stride),
        activation=activation(c.hidden_act, where),
        epsilon=c.layer_norm_eps,
        qkv_bias=biased,
        dtype=dtype,
    )
    names = [f"attention.attention.{part}" for part in ("query", "key", "value")]
    block = [
        *norm("attention_norm", "layernorm_before"),
        *qkv("attention/qkv", names, width, biased=(biased,) * 3),
        *dense("attention/out", "attention.output.dense"),
        *norm("mlp_norm", "layernorm_after"),
        *dense("mlp_in", "intermediate.dense"),
        *dense("mlp_out", "output.dense"),
    ]
    bands = (c.num_mel_bins - side) // c.frequency_stride + 1
    count = bands * ((c.max_length - side) // c.time_stride + 1) + 2
    rules = [
        *reshaped("class_token", "embeddings.cls_token", (1, width), (1, 1, width)),
        *reshaped("distillation_token", "embeddings.distillation_token", (1, width), (1, 1, width)),
        *reshaped("positions", "embeddings.position_embeddings", (count, width), (1, count, width)),
        *convolution("patches", "embeddings.patch_embeddings.projection", 2),
        *repeated(block, "blocks", "encoder.layer", c.num_hidden_layers),
        *norm("norm", "layernorm"),
    ]
    return tower, rules


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """ASTModel, or ASTForAudioClassification if the file has a classifier."""
    where = str(checkpoint.path)
    tower, rules = tower_of(checkpoint.config, dtype, where)
    module, part = tower, Part(tower)
    if "classifier.dense.weight" in checkpoint.weights:
        labels = checkpoint.weights["classifier.dense.weight"].shape[0]
        module = SpectrogramClassifier(tower, labels, tower.epsilon, dtype)
        part = Part(tower, "tower")
        rules = [
            *prefixed(rules, "tower/"),
            *norm("norm", "classifier.layernorm"),
            *dense("logits", "classifier.dense"),
        ]
    size = jax.ShapeDtypeStruct((1, tower.frames, tower.bins), jnp.float32)
    return Architecture(
        "ast",
        module,
        rules,
        {"input_values": size},
        canonical,
        {"audio": part},
        input_names(tower),
    )


FAMILY = Family("ast", has_type("audio-spectrogram-transformer"), build)
