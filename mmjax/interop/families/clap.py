"""CLAP (Wu et al. 2022, https://arxiv.org/abs/2211.06687) as transformers stores it."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
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
from mmjax.interop.families import bert, roberta
from mmjax.interop.families.bert import refuse_others
from mmjax.interop.families.settings import activation, pair, section, settings
from mmjax.interop.layout import Rules, convolution, dense, matrix, norm, prefixed, qkv, same
from mmjax.interop.towers.clap import AsTokens, ClapAudioTower, ClapTower, ProjectedHalf
from mmjax.interop.towers.stack import check_heads
from mmjax.interop.towers.text import TextTower
from mmjax.types import UserError

AUDIO = {
    "window_size": 8,
    "num_mel_bins": 64,
    "spec_size": 256,
    "hidden_act": "gelu",
    "patch_size": 4,
    "patch_stride": 4,
    "depths": [2, 2, 6, 2],
    "num_attention_heads": [4, 8, 16, 32],
    "patch_embeds_hidden_size": 96,
    "enable_patch_layer_norm": True,
    "qkv_bias": True,
    "mlp_ratio": 4.0,
    "layer_norm_eps": 1e-5,
}
AUDIO_ONLY = {
    "enable_fusion": False,
    "patch_embed_input_channels": 1,
    "flatten_patch_embeds": True,
}
TEXT = {"max_position_embeddings": 514, "type_vocab_size": 1}
PROJECTION = {"projection_dim": 512, "projection_hidden_act": "relu"}
# Buffers that the files hold.
BUFFERS = (*bert.NUMBERS, "relative_position_index", "num_batches_tracked")


def canonical(*prefixes: str) -> Callable[[str], str]:
    """Names without these prefixes, and without buffers."""

    def plain(name: str) -> str:
        return "" if name.endswith(BUFFERS) else strip(prefixes, name)

    return plain


def checked(config: Mapping[str, Any], where: str) -> SimpleNamespace:
    """The settings of the audio tower.

    Raises:
        UserError: a config that mmjax, or the original, cannot run.
    """
    c = settings(config, AUDIO, where)
    refuse_others(config, AUDIO_ONLY, where)
    c.patch_size, c.patch_stride = pair(c.patch_size), pair(c.patch_stride)
    if len(c.depths) != len(c.num_attention_heads) or not c.depths:
        raise UserError(
            f"{where}: depths={c.depths} and num_attention_heads={c.num_attention_heads} in"
            " config.json are not as many numbers each"
        )
    for stage, heads in enumerate(c.num_attention_heads):
        check_heads(where, c.patch_embeds_hidden_size * 2**stage, heads)
    smaller = 2 ** (len(c.depths) - 1)
    pieces = c.spec_size // c.num_mel_bins
    whole = c.spec_size == pieces * c.num_mel_bins
    for size, stride in zip(c.patch_size, c.patch_stride, strict=True):
        cells = c.spec_size // stride
        made = (c.spec_size + (size - stride) // 2 * 2 - size) // stride + 1
        whole = whole and size >= stride and made == cells and cells % smaller == 0
        whole = whole and cells // smaller >= c.window_size
    if not whole or c.spec_size // c.patch_stride[0] // smaller % pieces:
        raise UserError(
            f"{where}: a square of spec_size={c.spec_size} in config.json does not split into"
            f" spectrograms of {c.num_mel_bins} bins, patches of {c.patch_size} every"
            f" {c.patch_stride}, and {len(c.depths)} stages with windows of {c.window_size}"
        )
    return c


def audio_tower(config: Mapping[str, Any], dtype: Any, where: str) -> tuple[ClapAudioTower, Rules]:
    """The audio half, and its layout below "audio_encoder."."""
    c = checked(config, where)
    tower = ClapAudioTower(
        size=c.spec_size,
        bins=c.num_mel_bins,
        width=c.patch_embeds_hidden_size,
        patch_size=c.patch_size,
        strides=c.patch_stride,
        depths=tuple(c.depths),
        heads=tuple(c.num_attention_heads),
        side=c.window_size,
        mlp_ratio=c.mlp_ratio,
        activation=activation(c.hidden_act, where),
        epsilon=c.layer_norm_eps,
        qkv_bias=c.qkv_bias,
        patch_norm=c.enable_patch_layer_norm,
        dtype=dtype,
    )
    rules = [
        *norm("batch_norm", "batch_norm"),
        *same("batch_norm/mean", "batch_norm.running_mean", collection="batch_stats"),
        *same("batch_norm/var", "batch_norm.running_var", collection="batch_stats"),
        *convolution("patches", "patch_embed.proj", 2),
        *(norm("patch_norm", "patch_embed.norm") if c.enable_patch_layer_norm else ()),
        *norm("norm", "norm"),
    ]
    for stage, depth in enumerate(c.depths):
        width = c.patch_embeds_hidden_size * 2**stage
        block = swin_block(width, c.qkv_bias)
        for layer in range(depth):
            ours = f"stages/stage_{stage}_block_{layer}/"
            rules += prefixed(block, ours, f"layers.{stage}.blocks.{layer}.")
        if stage + 1 < len(c.depths):
            ours, theirs = f"stages/merge_{stage}", f"layers.{stage}.downsample"
            rules += norm(f"{ours}/norm", f"{theirs}.norm")
            rules += matrix(f"{ours}/reduction", f"{theirs}.reduction.weight")
    return tower, rules


def swin_block(width: int, biased: bool) -> Rules:
    """The layout of `mmjax.interop.towers.swin.SwinBlock`."""
    names = [f"attention.self.{part}" for part in ("query", "key", "value")]
    return [
        *norm("attention_norm", "layernorm_before"),
        *qkv("attention/qkv", names, width, biased=(biased,) * 3),
        *same("attention/places", "attention.self.relative_position_bias_table"),
        *dense("attention/out", "attention.output.dense"),
        *norm("mlp_norm", "layernorm_after"),
        *dense("mlp_in", "intermediate.dense"),
        *dense("mlp_out", "output.dense"),
    ]


def text_tower(config: Mapping[str, Any], dtype: Any, where: str) -> tuple[TextTower, Rules]:
    """The text half, a RoBERTa, and its layout below "text_model."."""
    return roberta.text_tower(TEXT | dict(config), dtype, where, pooled=True)


def projection(kind: str, ours: str = "") -> Rules:
    """The layout of a half's two dense layers."""
    name = f"{kind}_projection"
    layers = ("linear1", "linear2")
    return [rule for x in layers for rule in dense(f"{ours or name}/{x}", f"{name}.{x}")]


def spectrogram(tower: ClapAudioTower) -> dict[str, jax.ShapeDtypeStruct]:
    """The longest that the model takes."""
    frames = tower.size // tower.bins * tower.size
    return {"input_features": jax.ShapeDtypeStruct((1, 1, frames, tower.bins), jnp.float32)}


def parts(kind: str, tower: Any, path: str) -> dict[str, Part]:
    """What a recipe plugs in."""
    if kind == "audio":
        return {kind: Part(AsTokens(tower), path)}
    return {kind: Part(tower, path, options={"padding": tower.padding})}


def one_half(checkpoint: Checkpoint, kind: str, dtype: Any) -> Architecture:
    """ClapAudioModel or ClapTextModel, with its projection if the file has it."""
    where = str(checkpoint.path)
    if kind == "audio":
        plain = canonical("audio_model.audio_encoder.", "audio_encoder.")
        tower, rules = audio_tower(checkpoint.config, dtype, where)
        example, inputs = spectrogram(tower), input_names(tower)
    else:
        plain = canonical("text_model.")
        tower, rules = text_tower(checkpoint.config, dtype, where)
        example, inputs = bert.example(tower), bert.INPUTS
    module, path = tower, ""
    if f"{kind}_projection.linear1.weight" in checkpoint.weights:
        c = settings(checkpoint.config, PROJECTION, where)
        act = activation(c.projection_hidden_act, where)
        module = ProjectedHalf(tower, c.projection_dim, act, f"{kind}_embeds", dtype)
        rules = [*prefixed(rules, "tower/"), *projection(kind, "projection")]
        path = "tower"
    return Architecture("clap", module, rules, example, plain, parts(kind, tower, path), inputs)


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """ClapModel, or one half with or without its projection, as config.json and the file say."""
    kind, where = checkpoint.config["model_type"], str(checkpoint.path)
    if kind != "clap":
        return one_half(checkpoint, kind.split("_")[1], dtype)
    config = section(checkpoint.config, "audio_config", where)
    audio, audio_rules = audio_tower(config, dtype, where)
    config = section(checkpoint.config, "text_config", where)
    text, text_rules = text_tower(config, dtype, where)
    c = settings(checkpoint.config, PROJECTION, where)
    act = activation(c.projection_hidden_act, where)
    module = ClapTower(audio, text, c.projection_dim, act, dtype)
    rules = [
        *prefixed(audio_rules, "audio/", "audio_model.audio_encoder."),
        *prefixed(text_rules, "text/", "text_model."),
        *projection("audio"),
        *projection("text"),
        *same("logit_scale_a", "logit_scale_a"),
        *same("logit_scale_t", "logit_scale_t"),
    ]
    example = {**bert.example(text), **spectrogram(audio)}
    both = parts("audio", audio, "audio") | parts("text", text, "text")
    return Architecture("clap", module, rules, example, canonical("clap."), both)


FAMILY = Family("clap", has_type("clap", "clap_audio_model", "clap_text_model"), build)
