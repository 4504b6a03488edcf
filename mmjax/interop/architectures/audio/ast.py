"""AST, the audio spectrogram transformer (Gong et al. 2021, https://arxiv.org/abs/2104.01778)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.backbones.audio.ast import AstBackbone, patch_grid
from mmjax.backbones.classifier import Classifier
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
from mmjax.interop.architectures.blocks import repeated
from mmjax.interop.architectures.settings import BASE, settings, transformer_sizes
from mmjax.interop.architectures.vision import vit
from mmjax.interop.encoding import front_ends
from mmjax.interop.weights.layout import Rule, Rules, dense, norm, prefixed, reshaped, same

CONFIG = BASE | {
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


def normalise(name: str) -> str:
    """In the names of version 4 of transformers, below ASTModel; the head keeps its name."""
    return vit.normalise(strip(("audio_spectrogram_transformer.",), name))


def class_tokens(width: int) -> Rules:
    """The class token, and the one for distillation."""
    names = ("embeddings.cls_token", "embeddings.distillation_token")

    def load(*tokens):
        return np.concatenate([token.reshape(1, width) for token in tokens])

    def save(x):
        return [token.reshape(1, 1, width) for token in x]

    return [Rule("params/class_tokens", names, load, save)]


def patches(ours: str, theirs: str, side: int) -> Rules:
    """A convolution over mel bins and frames -> a dense layer over patches of frames and bins."""

    def load(x):
        return x[:, 0].transpose(2, 1, 0).reshape(-1, x.shape[0])

    def save(x):
        return (x.reshape(side, side, -1).transpose(2, 1, 0)[:, None],)

    kernel = Rule(f"params/{ours}/kernel", (f"{theirs}.weight",), load, save)
    return [kernel, *same(f"{ours}/bias", f"{theirs}.bias")]


def backbone_of(config: Any, dtype: Any, where: str) -> tuple[AstBackbone, Rules]:
    """The module and its layout.

    Raises:
        UserError: a config that the original cannot run either.
    """
    c = settings(config, CONFIG, where)
    vit.check_head_size(c, where)
    sizes = (c.patch_size, c.frequency_stride, c.time_stride)
    fits = all(isinstance(size, int) and size > 0 for size in sizes)
    if not fits or c.patch_size > min(c.num_mel_bins, c.max_length):
        raise UserError(
            f"{where}: patch_size={c.patch_size!r}, frequency_stride={c.frequency_stride!r} and"
            f" time_stride={c.time_stride!r} in config.json give no patches of"
            f" {c.num_mel_bins} bins and {c.max_length} frames: is the file damaged?"
        )
    width, side = c.hidden_size, c.patch_size
    strides = (c.time_stride, c.frequency_stride)
    backbone = AstBackbone(
        **transformer_sizes(c, where),
        dtype=dtype,
        patch_size=side,
        strides=strides,
        size=(c.max_length, c.num_mel_bins),
        qkv_bias=c.qkv_bias,
    )
    block = vit.block(vit.attention(width, bias=c.qkv_bias))
    count = 2 + math.prod(patch_grid(backbone.size, side, strides))
    places = "embeddings.position_embeddings"
    rules = [
        *class_tokens(width),
        *reshaped("positions/embedding", places, (count, width), (1, count, width)),
        *patches("patches", "embeddings.patch_embeddings.projection", side),
        *repeated(block, "transformer", "encoder.layer", c.num_hidden_layers),
        *norm("transformer/norm", "layernorm"),
    ]
    return backbone, rules


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """ASTModel, or ASTForAudioClassification if the file has a classifier."""
    where = str(checkpoint.path)
    backbone, rules = backbone_of(checkpoint.config, dtype, where)
    sizes = dict(zip(("frames", "bins"), backbone.size, strict=True))
    module, part = backbone, Part(backbone, "", front_ends.ast, sizes, front_ends.ast_options)
    if "classifier.dense.weight" in checkpoint.weights:
        labels = checkpoint.weights["classifier.dense.weight"].shape[0]
        module = Classifier(backbone, labels, dtype, epsilon=backbone.epsilon)
        part = part._replace(path="backbone")
        rules = [
            *prefixed(rules, "backbone/"),
            *norm("norm", "classifier.layernorm"),
            *dense("classifier", "classifier.dense"),
        ]
    size = jax.ShapeDtypeStruct((1, *backbone.size), jnp.float32)
    return Architecture(
        "ast",
        module,
        rules,
        {"input_values": size},
        normalise,
        {"audio": part},
        input_names(backbone),
    )


SPEC = Spec("ast", has_type("audio-spectrogram-transformer"), build)
