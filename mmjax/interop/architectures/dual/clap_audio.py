"""The audio backbone of CLAP as transformers stores it; see `clap`."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.backbones.audio.clap_audio import ClapAudioBackbone
from mmjax.backbones.audio.clap_fusion import PARTS
from mmjax.backbones.stack import check_heads
from mmjax.errors import UserError
from mmjax.interop.architectures.settings import activation, pair, settings
from mmjax.interop.architectures.text.bert import refuse_others
from mmjax.interop.weights.layout import (
    Rule,
    Rules,
    convolution,
    dense,
    matrix,
    norm,
    prefixed,
    qkv,
    same,
)
from mmjax.nn.layers.batch_norm import STATISTICS

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
    "enable_fusion": False,
    "aff_block_r": 4,
}
AUDIO_ONLY = {"patch_embed_input_channels": 1, "flatten_patch_embeds": True}


def checked(config: Mapping[str, Any], where: str) -> SimpleNamespace:
    """The settings of the audio backbone.

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
    if c.enable_fusion:
        check_fusion(config, c, where)
    return c


def check_fusion(config: Mapping[str, Any], c: SimpleNamespace, where: str) -> None:
    """Raises UserError for a fusion that mmjax, or the original, cannot run."""
    if config.get("fusion_type") == "channel_map":  # the original fails, too, when it runs
        raise UserError(
            f"{where}: fusion_type='channel_map' in config.json: mmjax runs models with fusion"
            " with other fusion types only"
        )
    size, stride = c.patch_size[1], c.patch_stride[1]
    if PARTS * size > c.spec_size + (size - stride) // 2 * 2:
        raise UserError(
            f"{where}: windows of {PARTS} patches of {c.patch_size} in config.json do not fit into"
            f" spec_size={c.spec_size}, which fusion needs"
        )
    if c.aff_block_r <= 0 or c.patch_embeds_hidden_size // c.aff_block_r < 1:
        raise UserError(
            f"{where}: aff_block_r={c.aff_block_r} in config.json leaves nothing of"
            f" patch_embeds_hidden_size={c.patch_embeds_hidden_size}"
        )


def audio_backbone(
    config: Mapping[str, Any], dtype: Any, where: str
) -> tuple[ClapAudioBackbone, Rules]:
    """The audio backbone, and its layout below "audio_encoder."."""
    c = checked(config, where)
    width = c.patch_embeds_hidden_size
    backbone = ClapAudioBackbone(
        size=c.spec_size,
        bins=c.num_mel_bins,
        width=width,
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
        fusion=int(width // c.aff_block_r) if c.enable_fusion else None,
        dtype=dtype,
    )
    rules = [
        *batch_norm("batch_norm", "batch_norm"),
        *convolution("patches", "patch_embed.proj", 2),
        *(prefixed(fusion(), "fusion/", "patch_embed.") if c.enable_fusion else ()),
        *(norm("patch_norm", "patch_embed.norm") if c.enable_patch_layer_norm else ()),
        *norm("norm", "norm"),
    ]
    for stage, depth in enumerate(c.depths):
        block = swin_block(width * 2**stage, c.qkv_bias)
        for layer in range(depth):
            ours = f"stages/stage_{stage}_block_{layer}/"
            rules += prefixed(block, ours, f"layers.{stage}.blocks.{layer}.")
        if stage + 1 < len(c.depths):
            ours, theirs = f"stages/merge_{stage}", f"layers.{stage}.downsample"
            rules += norm(f"{ours}/norm", f"{theirs}.norm")
            rules += matrix(f"{ours}/reduction", f"{theirs}.reduction.weight")
    return backbone, rules


def batch_norm(ours: str, theirs: str) -> Rules:
    """The layout of a `mmjax.nn.layers.batch_norm.BatchNorm`."""
    return [
        *norm(ours, theirs),
        *same(f"{ours}/mean", f"{theirs}.running_mean", collection=STATISTICS),
        *same(f"{ours}/var", f"{theirs}.running_var", collection=STATISTICS),
    ]


def pointwise(ours: str, theirs: str) -> Rules:
    """The layout of a convolution of single cells, which is a dense layer of ours."""
    return [
        Rule(
            f"params/{ours}/kernel",
            (f"{theirs}.weight",),
            lambda x: x.squeeze((2, 3)).T,
            lambda x: (x.T[:, :, None, None],),
        ),
        *same(f"{ours}/bias", f"{theirs}.bias"),
    ]


def fusion() -> Rules:
    """The layout of `mmjax.backbones.audio.clap_fusion.ClapFusion`."""
    rules = convolution("patches", "mel_conv2d", 2)
    for ours, theirs, first in (("local", "local_att", 0), ("overall", "global_att", 1)):
        for layer in range(2):
            at = first + 3 * layer  # a convolution, its norm, and what has no parameters
            rules += pointwise(f"{ours}/dense_{layer}", f"fusion_model.{theirs}.{at}")
            rules += batch_norm(f"{ours}/norm_{layer}", f"fusion_model.{theirs}.{at + 1}")
    return rules


def swin_block(width: int, biased: bool) -> Rules:
    """The layout of `mmjax.backbones.audio.swin.SwinBlock`."""
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


def spectrogram(backbone: ClapAudioBackbone) -> dict[str, jax.ShapeDtypeStruct]:
    """The longest that the model takes, and with fusion whether it is of a longer sound."""
    frames = backbone.size // backbone.bins * backbone.size
    channels = 1 if backbone.fusion is None else 1 + PARTS
    shapes = {
        "input_features": jax.ShapeDtypeStruct((1, channels, frames, backbone.bins), jnp.float32)
    }
    longer = {"is_longer": jax.ShapeDtypeStruct((1, 1), jnp.int32)}
    return shapes if backbone.fusion is None else shapes | longer
