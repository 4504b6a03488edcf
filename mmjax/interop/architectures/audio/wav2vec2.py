"""wav2vec 2.0 (Baevski et al. 2020, https://arxiv.org/abs/2006.11477) as transformers stores it."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.backbones.audio.wav2vec2 import Wav2Vec2Backbone, frames_of, real_frames
from mmjax.backbones.classifier import Classifier
from mmjax.backbones.stack import check_heads
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
from mmjax.interop.architectures.settings import BASE, activation, settings, transformer_sizes
from mmjax.interop.architectures.text.bert import refuse_others
from mmjax.interop.encoding import front_ends
from mmjax.interop.weights.layout import (
    Rules,
    convolution,
    dense,
    norm,
    prefixed,
    qkv,
    reshaped,
    same,
    transposed,
)

CONFIG = BASE | {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "conv_dim": [512] * 7,
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_bias": False,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "do_stable_layer_norm": False,
}
ONLY = {"add_adapter": False, "adapter_attn_dim": None}
NORMS = ("group", "layer")
# The head of Wav2Vec2ForSequenceClassification; that of speakers has layers of its own in between.
ONE_ANSWER = {"projector.weight", "classifier.weight"}
SECOND = 16_000  # samples, the rate of all published models

# Of the kernel for places: as PyTorch 2.1 and later name its parts, and as it did before.
LENGTH, DIRECTION = (f"encoder.pos_conv_embed.conv.weight_{part}" for part in "gv")
RENAMED = {
    "encoder.pos_conv_embed.conv.parametrizations.weight.original0": LENGTH,
    "encoder.pos_conv_embed.conv.parametrizations.weight.original1": DIRECTION,
}


def normalise(name: str) -> str:
    """Without the prefix of a model with a head, with the older names for the kernel's parts."""
    name = strip(("wav2vec2.",), name)
    return RENAMED.get(name, name)


def checked(config: Any, where: str) -> SimpleNamespace:
    """The settings.

    Raises:
        UserError: a config that mmjax, or the original, cannot run.
    """
    c = settings(config, CONFIG, where)
    refuse_others(config, ONLY, where)
    check_heads(where, c.hidden_size, c.num_attention_heads)
    if c.feat_extract_norm not in NORMS:
        raise UserError(
            f"{where}: feat_extract_norm={c.feat_extract_norm!r} in config.json is none of"
            f" {', '.join(NORMS)}"
        )
    shapes = (c.conv_dim, c.conv_kernel, c.conv_stride)
    whole = all(isinstance(x, int) and x > 0 for shape in shapes for x in shape)
    if len({len(shape) for shape in shapes}) != 1 or not c.conv_dim or not whole:
        raise UserError(
            f"{where}: conv_dim, conv_kernel and conv_stride in config.json are not as many whole"
            f" numbers each: {', '.join(map(str, shapes))}"
        )
    if c.num_conv_pos_embeddings < 1 or c.hidden_size % c.num_conv_pos_embedding_groups:
        raise UserError(
            f"{where}: num_conv_pos_embeddings={c.num_conv_pos_embeddings} and"
            f" num_conv_pos_embedding_groups={c.num_conv_pos_embedding_groups} in config.json do"
            f" not fit a width of {c.hidden_size}"
        )
    return c


def feature_rules(c: SimpleNamespace) -> Rules:
    """The layout of the convolutions over the samples."""
    rules: Rules = []
    for layer in range(len(c.conv_dim)):
        ours, theirs = f"convolution_{layer}", f"feature_extractor.conv_layers.{layer}"
        rules += convolution(ours, f"{theirs}.conv", 1, bias=c.conv_bias)
        if layer == 0 or c.feat_extract_norm == "layer":
            rules += norm(f"{ours}/norm", f"{theirs}.layer_norm")
    return rules


def backbone_of(
    config: Any, dtype: Any, where: str, replaced: bool
) -> tuple[Wav2Vec2Backbone, Rules]:
    """The module and its layout; `replaced`: whether the file has a vector for masked frames."""
    c = checked(config, where)
    backbone = Wav2Vec2Backbone(
        **transformer_sizes(c, where),
        dtype=dtype,
        channels=tuple(c.conv_dim),
        sizes=tuple(c.conv_kernel),
        strides=tuple(c.conv_stride),
        positions=c.num_conv_pos_embeddings,
        groups=c.num_conv_pos_embedding_groups,
        convolution_norm=c.feat_extract_norm,
        convolution_bias=c.conv_bias,
        convolution_activation=activation(c.feat_extract_activation, where),
        stable=c.do_stable_layer_norm,
        replaced=replaced,
    )
    block = [
        *qkv("attention/qkv", [f"attention.{part}_proj" for part in "qkv"], c.hidden_size),
        *dense("attention/out", "attention.out_proj"),
        *norm("attention_norm", "layer_norm"),
        *dense("mlp_in", "feed_forward.intermediate_dense"),
        *dense("mlp_out", "feed_forward.output_dense"),
        *norm("mlp_norm", "final_layer_norm"),
    ]
    size = c.num_conv_pos_embeddings
    rules = [
        *feature_rules(c),
        *norm("feature_norm", "feature_projection.layer_norm"),
        *dense("projection", "feature_projection.projection"),
        *(same("masked", "masked_spec_embed") if replaced else ()),
        *reshaped("positions/length", LENGTH, (size,), (1, 1, size)),
        *transposed("positions/direction", DIRECTION, (2, 1, 0)),
        *same("positions/bias", "encoder.pos_conv_embed.conv.bias"),
        *norm("norm", "encoder.layer_norm"),
        *repeated(block, "blocks", "encoder.layers", c.num_hidden_layers),
    ]
    return backbone, rules


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """Wav2Vec2Model, or Wav2Vec2ForCTC or Wav2Vec2ForSequenceClassification if the file has the
    head; other heads are left over."""
    where = str(checkpoint.path)
    names = {normalise(name): name for name in checkpoint.weights}
    replaced = "masked_spec_embed" in names
    backbone, rules = backbone_of(checkpoint.config, dtype, where, replaced)
    windows = {"sizes": backbone.sizes, "strides": backbone.strides}
    module, part = (
        backbone,
        Part(backbone, "", front_ends.wav2vec2, windows, front_ends.wav2vec2_options),
    )
    if "lm_head.weight" in names:
        letters = checkpoint.weights[names["lm_head.weight"]].shape[0]
        module = Classifier(backbone, letters, dtype, "tokens")
        part = part._replace(path="backbone")
        rules = [*prefixed(rules, "backbone/"), *dense("classifier", "lm_head")]
    elif names.keys() >= ONE_ANSWER and not any(name.startswith("tdnn.") for name in names):
        classes, middle = checkpoint.weights[names["classifier.weight"]].shape
        weighted = "layer_weights" in names
        module = Classifier(
            backbone,
            classes,
            dtype,
            "mean",
            token_mask=real_frames,
            weighted=weighted,
            width=middle,
        )
        part = part._replace(path="backbone")
        rules = [
            *prefixed(rules, "backbone/"),
            *dense("hidden", "projector"),
            *dense("classifier", "classifier"),
            *(same("weights", "layer_weights") if weighted else ()),
        ]
    samples = SECOND
    while frames_of(samples, backbone.sizes, backbone.strides) < 1:
        samples *= 2
    shapes = {"input_values": jax.ShapeDtypeStruct((1, samples), jnp.float32)}
    inputs = input_names(backbone)
    return Architecture("wav2vec2", module, rules, shapes, normalise, {"audio": part}, inputs)


SPEC = Spec("wav2vec2", has_type("wav2vec2"), build)
