"""DINOv2 (Oquab et al. 2023, https://arxiv.org/abs/2304.07193), with registers or without
(Darcet et al. 2023, https://arxiv.org/abs/2309.16588), as transformers stores it."""

import math
import re
from typing import Any

from mmjax.backbones.vision.vit import VisionTransformer
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Spec, has_type, strip
from mmjax.interop.architectures.blocks import repeated
from mmjax.interop.architectures.settings import activation, pair, settings
from mmjax.interop.architectures.vision import vit
from mmjax.interop.weights.layout import Rules, dense, norm, reshaped, same, side_by_side

SETTINGS = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "mlp_ratio": 4,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "qkv_bias": True,
    "use_swiglu_ffn": False,
    "head_dim": None,
}
REGISTERS = SETTINGS | {"patch_size": 16, "num_register_tokens": 4}


def normalise(name: str) -> str:
    """Without the prefix of models with a head, in the names of version 4 of transformers."""
    name = strip(("dinov2.", "dinov2_with_registers."), name)
    for new, old in vit.ATTENTION:
        name = re.sub(new, old, name)
    return re.sub(r"mlp\.down_proj", "mlp.weights_out", name)


def grid_of(config: Any, where: str) -> tuple[int, int]:
    """Rows and columns of the positions.

    transformers reads the table as a square one, whatever the shape of the pictures.

    Raises:
        UserError: it is no square, or the patches are none.
    """
    sides, size = pair(config.patch_size), pair(config.image_size)
    cells = (size[0] // sides[0]) * (size[1] // sides[1])
    side = math.isqrt(cells)
    if sides[0] != sides[1] or side * side != cells:
        raise UserError(
            f"{where}: image_size={config.image_size!r} and patch_size={config.patch_size!r} in"
            " config.json give no square of square patches, which DINOv2 needs"
        )
    return side, side


def mlp(c: Any, names: Any) -> tuple[int, Rules]:
    """Its hidden width, and its layout in a block; two halves side by side where it is gated."""
    hidden = int(c.hidden_size * c.mlp_ratio)
    if not c.use_swiglu_ffn:
        return hidden, [*dense("mlp_in", "mlp.fc1"), *dense("mlp_out", "mlp.fc2")]
    hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    if any("mlp.gate_proj" in name for name in names):
        halves = ("mlp.gate_proj", "mlp.up_proj")
        entry = side_by_side("mlp_in", halves, (hidden, hidden), (True, True))
    else:
        entry = dense("mlp_in", "mlp.weights_in")
    return hidden, [*entry, *dense("mlp_out", "mlp.weights_out")]


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """Dinov2Model, Dinov2WithRegistersModel, or one with its classifier."""
    where = str(checkpoint.path)
    registered = checkpoint.config["model_type"] == "dinov2_with_registers"
    c = settings(checkpoint.config, REGISTERS if registered else SETTINGS, where)
    vit.check_head_size(c, where)
    names = {normalise(name) for name in checkpoint.weights}
    sides, width = pair(c.patch_size), c.hidden_size
    hidden, rows = mlp(c, names)
    backbone = VisionTransformer(
        width=width,
        layers=c.num_hidden_layers,
        heads=c.num_attention_heads,
        mlp_width=hidden,
        patch_size=sides,
        grid=grid_of(c, where),
        antialias=registered,
        activation="silu" if c.use_swiglu_ffn else activation(c.hidden_act, where),
        epsilon=c.layer_norm_eps,
        qkv_bias=c.qkv_bias,
        layer_scale=1.0,
        gated=c.use_swiglu_ffn,
        registers=c.num_register_tokens if registered else 0,
        mask_token="embeddings.mask_token" in names,
        pooling="class_mean" if "classifier.weight" in names else "class",
        dtype=dtype,
    )
    block = [
        *norm("attention_norm", "norm1"),
        *vit.attention(width, bias=c.qkv_bias),
        *same("attention_scale", "layer_scale1.lambda1"),
        *norm("mlp_norm", "norm2"),
        *rows,
        *same("mlp_scale", "layer_scale2.lambda1"),
    ]
    rules = [
        *vit.embeddings((), width, sides, c.num_channels),
        *(same("mask_token", "embeddings.mask_token") if backbone.mask_token else ()),
        *vit.positions(width, backbone.grid[0] * backbone.grid[1]),
        *repeated(block, "transformer", "encoder.layer", c.num_hidden_layers),
        *norm("transformer/norm", "layernorm"),
    ]
    if backbone.registers:
        table = (backbone.registers, width)
        rules += reshaped("registers", "embeddings.register_tokens", table, (1, *table))
    return vit.with_classifier("dinov2", checkpoint, backbone, rules, c.num_channels, normalise)


SPEC = Spec("dinov2", has_type("dinov2", "dinov2_with_registers"), build)
