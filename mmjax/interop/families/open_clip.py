"""open_clip (Ilharco et al. 2021, https://doi.org/10.5281/zenodo.5143773) and OpenAI's CLIP files.

A folder has open_clip_config.json beside the weights; OpenAI's .pt files need none.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.interop.architecture import Architecture, Checkpoint, Family, Part
from mmjax.interop.checkpoint import read_config_file
from mmjax.interop.families import openai_clip
from mmjax.interop.families.blocks import repeated
from mmjax.interop.families.dual import picture
from mmjax.interop.families.settings import pair, section, settings
from mmjax.interop.layout import (
    Rules,
    dense,
    fused_qkv,
    norm,
    patches,
    prefixed,
    reshaped,
    same,
)
from mmjax.interop.towers.open_clip import FeatureTower, OpenClip
from mmjax.interop.towers.stack import check_heads
from mmjax.interop.towers.text import TextTower
from mmjax.interop.towers.vision import VisionTower
from mmjax.types import UserError

VISION = {
    "layers": 12,
    "width": 768,
    "head_width": 64,
    "mlp_ratio": 4.0,
    "patch_size": 16,
    "image_size": 224,
    "ls_init_value": None,
    "no_ln_pre": False,
    "final_ln_after_pool": False,
    "pool_type": "tok",
    "act_kwargs": None,
    "norm_kwargs": None,
}
TEXT = {
    "context_length": 77,
    "vocab_size": 49408,
    "width": 512,
    "heads": 8,
    "layers": 12,
    "mlp_ratio": 4.0,
    "ls_init_value": None,
    "eos_id": 2,
    "no_causal_mask": False,
    "pool_type": "argmax",
    "proj_bias": False,
    "proj_type": "linear",
    "act_kwargs": None,
    "norm_kwargs": None,
}
# What changes the numbers and mmjax does not have, with what is said of it.
REFUSED = {
    "timm_model_name": "a tower from timm",
    "hf_model_name": "a tower from transformers",
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
PICTURES = {
    ("tok", False): "class",
    ("tok", True): "class_norm",
    ("avg", False): "mean",
    ("avg", True): "mean_norm",
}
TEXTS = {"argmax": "highest", "eos": "equal", "first": "first", "last": "final"}


def canonical(name: str) -> str:
    """A name as open_clip's class CLIP has it; "" for what is no parameter.

    Training adds "state_dict.module." and the state of the optimizer, CustomTextCLIP "text.".
    """
    if name.startswith(("optimizer.", "scaler.")) or name in ("epoch", *openai_clip.MARKS):
        return ""
    for prefix in ("state_dict.", "module.", "text."):
        name = name.removeprefix(prefix)
    return "" if name == "attn_mask" else name


def recognises(checkpoint: Checkpoint) -> bool:
    """By the tensors, since config.json beside them may be another library's."""
    names = {canonical(name) for name in checkpoint.weights}
    starts = ("visual.conv1.", "visual.trunk.")
    return "logit_scale" in names and any(name.startswith(starts) for name in names)


def own_config(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """Of a folder whose config.json is of another library; {} if there is none.

    Raises:
        UserError: it is no JSON table.
    """
    folder = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    file = folder / "open_clip_config.json"
    return read_config_file(file) if file.is_file() else {}


def config_of(checkpoint: Checkpoint, weights: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The model_cfg of open_clip_config.json, or what the tensors say.

    Raises:
        UserError: neither of them says which activation the model has.
    """
    beside = own_config(checkpoint) if "model_cfg" not in checkpoint.config else {}
    config = beside or checkpoint.config
    given = section(config, "model_cfg", where) or config
    if "vision_cfg" in given:
        return given
    openai = openai_clip.is_openai(checkpoint.weights)
    quick = given.get("quick_gelu", True if openai else None)
    if not isinstance(quick, bool):
        raise UserError(
            f"{where}: nothing says whether the activation is quick_gelu: put the model's"
            " open_clip_config.json beside it, or one that holds"
            ' {"quick_gelu": true} (OpenAI\'s weights) or {"quick_gelu": false}'
        )
    return openai_clip.model_cfg(weights, where, quick_gelu=quick)


def check(config: Mapping[str, Any], where: str) -> None:
    """Raises UserError for a tower that mmjax does not build."""
    for key, what in REFUSED.items():
        if config.get(key) not in (None, False, "default"):
            raise UserError(f"{where}: {key}={config[key]!r}: mmjax does not build {what}")
    if isinstance(config.get("layers"), list):
        raise UserError(f"{where}: a ResNet tower: mmjax builds the ViT ones of open_clip")


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


def blocks(layers: int, prefix: str, *, scaled: bool = False) -> Rules:
    """Of a tower of open_clip; `scaled`: the branches have learned factors."""
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
    return repeated(block, "tower/blocks", f"{prefix}transformer.resblocks", layers)


def vision_tower(
    config: Mapping[str, Any], width: int, quick: bool, dtype: Any, where: str
) -> tuple[FeatureTower, Rules]:
    """The image half, `width` that of its features, and its layout."""
    check(config, where)
    c = settings(config, VISION, where)
    heads = c.width // max(c.head_width, 1)
    check_heads(where, c.width, heads)
    if (c.pool_type, c.final_ln_after_pool) not in PICTURES:
        raise UserError(f"{where}: pool_type={c.pool_type!r} of pictures: mmjax has tok and avg")
    sides, size = pair(c.patch_size), pair(c.image_size)
    tower = VisionTower(
        width=c.width,
        layers=c.layers,
        heads=heads,
        mlp_width=int(c.width * c.mlp_ratio),
        patch_size=sides,
        grid=(size[0] // sides[0], size[1] // sides[1]),
        antialias=True,
        activation=activation(c, quick, where),
        epsilon=epsilon(c, where),
        layer_scale=c.ls_init_value,
        patch_bias=False,
        input_norm=not c.no_ln_pre,
        closing_norm=not c.final_ln_after_pool,
        pooling=PICTURES[c.pool_type, c.final_ln_after_pool],
        dtype=dtype,
    )
    rules = [
        *reshaped("tower/class_token", "visual.class_embedding", (1, c.width), (c.width,)),
        *patches("tower/patches/projection", "visual.conv1", sides, bias=False),
        *same("tower/positions", "visual.positional_embedding"),
        *(() if c.no_ln_pre else norm("tower/input_norm", "visual.ln_pre")),
        *blocks(c.layers, "visual.", scaled=c.ls_init_value is not None),
        *norm("tower/norm", "visual.ln_post"),
        *same("projection/kernel", "visual.proj"),
    ]
    return FeatureTower(tower, width, dtype=dtype), rules


def text_tower(
    config: Mapping[str, Any], width: int, quick: bool, dtype: Any, where: str
) -> tuple[FeatureTower, Rules]:
    """The text half, `width` that of its features, and its layout."""
    check(config, where)
    c = settings(config, TEXT, where)
    check_heads(where, c.width, c.heads)
    if c.ls_init_value is not None or c.pool_type not in TEXTS:
        raise UserError(
            f"{where}: pool_type={c.pool_type!r}, ls_init_value={c.ls_init_value!r} of texts:"
            f" mmjax has {', '.join(TEXTS)} without layer scale"
        )
    tower = TextTower(
        width=c.width,
        layers=c.layers,
        heads=c.heads,
        mlp_width=int(c.width * c.mlp_ratio),
        vocabulary_size=c.vocab_size,
        positions=c.context_length,
        activation=activation(c, quick, where),
        epsilon=epsilon(c, where),
        causal=not c.no_causal_mask,
        pooling=TEXTS[c.pool_type],
        end_id=c.eos_id,
        dtype=dtype,
    )
    rules = [
        *same("tower/words", "token_embedding.weight"),
        *same("tower/positions", "positional_embedding"),
        *blocks(c.layers, ""),
        *norm("tower/norm", "ln_final"),
    ]
    if c.proj_type == "none":
        return FeatureTower(tower, dtype=dtype), rules
    rules += (
        dense("projection", "text_projection")
        if c.proj_bias
        else same("projection/kernel", "text_projection")
    )
    return FeatureTower(tower, width, c.proj_bias, dtype), rules


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """CLIP or CustomTextCLIP of open_clip, with ViT towers."""
    where = str(checkpoint.path)
    weights = {canonical(name): tensor for name, tensor in checkpoint.weights.items()}
    config = config_of(checkpoint, weights, where)
    if "multimodal_cfg" in config:
        raise UserError(f"{where}: CoCa: mmjax builds the two towers of open_clip's CLIP only")
    width, quick = config.get("embed_dim"), config.get("quick_gelu", False)
    if type(width) is not int or not isinstance(quick, bool):
        raise UserError(f"{where}: embed_dim={width!r}, quick_gelu={quick!r} in its config")
    towers, rules = {}, []
    for kind, make in (("vision", vision_tower), ("text", text_tower)):
        part = section(config, f"{kind}_cfg", where)
        towers[kind], found = make(part, width, quick, dtype, where)
        rules += prefixed(found, f"{kind}/")
    biased = "logit_bias" in weights
    for name in ("logit_scale", "logit_bias")[: 1 + biased]:
        rules += same(name, name)
    model = OpenClip(towers["vision"], towers["text"], biased, weights["logit_scale"].shape)
    shapes = {
        "image": picture(towers["vision"].tower),
        "text": jax.ShapeDtypeStruct((1, towers["text"].tower.positions), jnp.int32),
    }
    parts = {
        "image": Part(towers["vision"].tower, "vision/tower"),
        "text": Part(towers["text"].tower, "text/tower"),
    }
    return Architecture("open_clip", model, rules, shapes, canonical, parts)


FAMILY = Family("open_clip", recognises, build)
