"""What the transformers of open_clip share: options, and the layout of their blocks."""

from collections.abc import Mapping
from typing import Any

from mmjax.errors import UserError
from mmjax.interop.architectures.blocks import repeated
from mmjax.interop.weights.layout import Rules, dense, fused_qkv, norm, same

# What changes the numbers and mmjax does not have, with what is said of it.
REFUSED = {
    "hf_model_name": "a backbone from transformers",
    "attentional_pool": "attentional pooling",
    "embed_cls": "a class token in the text (CoCa)",
    "block_type": "another kind of block",
    "qk_norm": "norms of queries and keys",
    "scaled_cosine_attn": "cosine attention",
    "scale_heads": "scaled heads",
    "scale_attn_inner": "a norm inside the attention",
    "scale_attn": "a norm after the attention",
    "scale_fc": "a norm in the mlp",
    "output_tokens": "tokens beside the features (CoCa)",
}


def check(config: Mapping[str, Any], where: str) -> None:
    """Raises UserError for a backbone that mmjax does not build."""
    for key, what in REFUSED.items():
        if config.get(key) not in (None, False, "default"):
            raise UserError(f"{where}: {key}={config[key]!r}: mmjax does not build {what}")
    if isinstance(config.get("layers"), list):
        raise UserError(
            f"{where}: layers={config['layers']!r}: a transformer has one number of them"
        )


def activation(config: Any, quick: bool, where: str) -> str:
    """Raises UserError for arguments of it that mmjax does not have."""
    if not config.act_kwargs:
        return "quick_gelu" if quick else "gelu_exact"
    if config.act_kwargs != {"approximate": "tanh"} or quick:
        raise UserError(f"{where}: act_kwargs={config.act_kwargs!r} is no activation of mmjax")
    return "gelu"


def epsilon(config: Any, where: str) -> float:
    """Raises UserError for arguments of the norms that mmjax does not have."""
    given = config.norm_kwargs or {}
    if not isinstance(given, Mapping) or set(given) - {"eps"}:
        raise UserError(f"{where}: norm_kwargs={given!r}: mmjax knows eps only")
    return float(given.get("eps", 1e-5))


def blocks(ours: str, layers: int, prefix: str, *, scaled: bool = False) -> Rules:
    """Of a transformer at the path `ours`; `scaled`: the branches have learned factors."""
    block = [
        *norm("attention_norm", "ln_1"),
        *fused_qkv("attention/qkv", "attn.in_proj"),
        *dense("attention/out", "attn.out_proj"),
        *norm("mlp_norm", "ln_2"),
        *dense("mlp_in", "mlp.c_fc"),
        *dense("mlp_out", "mlp.c_proj"),
    ]
    if scaled:
        block += [*same("attention_scale", "ls_1.gamma"), *same("mlp_scale", "ls_2.gamma")]
    return repeated(block, ours, f"{prefix}transformer.resblocks", layers)
