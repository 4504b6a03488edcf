"""What timm's name of a vision transformer says beside its tensors: heads, activation, pooling."""

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from mmjax.errors import UserError
from mmjax.interop.architectures.settings import pair, section, settings

ACTIVATIONS = {
    "gelu": "gelu_exact",
    "gelu_tanh": "gelu",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
# What the name of an architecture may be made of: others have parts that leave no tensor, such as
# rotary positions.
WORDS = re.compile(
    r"(patch|reg)?\d+|vit|deit3?|flexivit|36x1|v[34]|tiny|x?small|wee|little|mediumd?|betwixt|base"
    r"|so150m2?|so400m|intern300m|large|huge|giant(opt)?|gigantic|plus|clip|quickgelu|siglip|gap"
    r"|map|dinov2|tipsv2|radio|miil"
)
TANH = r"(base_patch32|giantopt_patch16|so400m_patch16)_siglip|large_patch16_siglip(_gap)?_512"
HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16}  # by width; of others a head has 64 channels
# Arguments of the model that its tensors show, or that matter in training only.
SHOWN = re.compile(
    r"embed_dim|depth|mlp_ratio|patch_size|in_chans|num_classes|qkv_bias|init_values|class_token"
    r"|reg_tokens|no_embed_class|pre_norm|final_norm|fc_norm|dynamic_img_size|(\w+_)?drop_rate"
    r"|drop_path_rate|weight_init|fix_init"
)
ARGUMENTS = {"num_heads": None, "act_layer": None, "global_pool": None, "img_size": None}


def arguments(config: Mapping[str, Any], names: Mapping[str, Any], where: str) -> SimpleNamespace:
    """What the tensors do not show: name, num_heads, act_layer, epsilon, global_pool, size.

    Raises:
        UserError: an architecture or an argument that mmjax does not know.
    """
    cfg = section(config, "pretrained_cfg", where)
    name = str(config.get("architecture") or cfg.get("architecture") or "vit").split(".")[0]
    unknown = [word for word in name.split("_") if not WORDS.fullmatch(word)]
    given = section(config, "model_args", where)
    unknown += [key for key in given if key not in ARGUMENTS and not SHOWN.fullmatch(key)]
    if unknown:
        raise UserError(
            f"{where}: architecture {name!r}: mmjax does not know"
            f" {', '.join(map(repr, unknown))} of timm's ViT"
        )
    if "norm_pre.weight" in names and name == "vit":
        raise UserError(
            f"{where}: a ViT of a CLIP, whose activation the tensors do not show: put timm's"
            " config.json beside it"
        )
    width = names["patch_embed.proj.weight"].shape[0]
    heads = HEADS.get(width, width // 64)
    if "giantopt" in name or name == "vit_base_patch16_gap_224":
        heads = 16
    act = "quick_gelu" if "quickgelu" in name else "gelu_tanh" if re.search(TANH, name) else "gelu"
    usual = ARGUMENTS | {"num_heads": heads, "act_layer": act, "global_pool": pooling(names)}
    c = settings(given, usual, where)
    c.global_pool = config.get("global_pool", given.get("global_pool", c.global_pool))
    size = cfg.get("input_size")
    c.size = pair(c.img_size) if c.img_size else tuple(size[1:]) if size else None
    c.epsilon = 1e-5 if "clip" in name.split("_") else 1e-6
    if c.act_layer not in ACTIVATIONS:
        raise UserError(
            f"{where}: act_layer={c.act_layer!r} is not one of {', '.join(ACTIVATIONS)}"
        )
    return c


def pooling(names: Mapping[str, Any]) -> str:
    """timm's name of it, by the tensors."""
    if "attn_pool.latent" in names:
        return "map"
    return "token" if "cls_token" in names and "fc_norm.weight" not in names else "avg"
