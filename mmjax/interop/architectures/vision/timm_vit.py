"""Vision transformers of timm (Wightman 2019, https://doi.org/10.5281/zenodo.4414861).

The inputs and outputs have the names of transformers' TimmWrapperModel: pixel_values,
last_hidden_state (timm's forward_features), pooler_output, logits.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from mmjax.backbones.stack import check_heads
from mmjax.backbones.vision.vit import VisionTransformer
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Part, Spec
from mmjax.interop.architectures.blocks import classified, repeated
from mmjax.interop.architectures.dual.dual import picture
from mmjax.interop.architectures.vision import timm_names
from mmjax.interop.weights.layout import Rules, dense, norm, patches, reshaped, same, side_by_side

# By the pooling's name and whether a norm follows it.
POOLINGS = {
    ("token", False): "class",
    ("token", True): "class_norm",
    ("avg", False): "mean",
    ("avg", True): "mean_norm",
    ("map", False): "attention",
    ("", False): None,
}
AXES = {
    "patch_embed.proj.weight": 4,
    "pos_embed": 3,
    "cls_token": 3,
    "reg_token": 3,
    "blocks.0.mlp.fc1.weight": 2,
    "blocks.0.mlp.fc2.weight": 2,
}


def normalise(name: str) -> str:
    """Without the prefix of transformers' TimmWrapperModel."""
    return name.removeprefix("timm_model.")


def plain(names: Iterable[str]) -> bool:
    """Whether these are timm's names of a vision transformer with a table of positions."""
    return {"blocks.0.attn.qkv.weight", "patch_embed.proj.weight", "pos_embed"} <= set(names)


def recognises(checkpoint: Checkpoint) -> bool:
    """By the tensors."""
    return plain(map(normalise, checkpoint.weights))


def grid_of(
    cells: int, lead: int, sides: tuple[int, int], size: Any, where: str
) -> tuple[tuple[int, int], bool]:
    """Rows and columns of `cells` positions, and whether the `lead` first ones are of tokens.

    Raises:
        UserError: they are neither those of the size in the config nor a square.
    """
    if size is not None:
        grid = (size[0] // sides[0], size[1] // sides[1])
        for placed in (False, True):
            if cells - lead * placed == math.prod(grid):
                return grid, placed
    for placed in (False, True):
        side = math.isqrt(max(cells - lead * placed, 0))
        if side and side * side == cells - lead * placed:
            return (side, side), placed
    raise UserError(f"{where}: 'pos_embed' has {cells} places, which is no square of patches")


def attention_pool(width: int) -> Rules:
    """Of `mmjax.backbones.vision.pooling.AttentionHead`; the query is projected apart there."""
    layers = ("attn_pool.q", "attn_pool.kv")
    fused = side_by_side("head/qkv", layers, (width, 2 * width), (True, True))
    return [
        *reshaped("head/probe", "attn_pool.latent", (1, 1, width), (1, 1, width)),
        *(rule._replace(ours=rule.ours.replace("qkv/", "qkv_")) for rule in fused),
        *dense("head/out", "attn_pool.proj"),
        *norm("head/norm", "attn_pool.norm"),
        *dense("head/mlp_in", "attn_pool.mlp.fc1"),
        *dense("head/mlp_out", "attn_pool.mlp.fc2"),
    ]


def block(names: Mapping[str, Any]) -> Rules:
    """Of one block, with what the first one has in the file."""
    biased = "blocks.0.attn.qkv.bias" in names
    rules = [
        *norm("attention_norm", "norm1"),
        *dense("attention/qkv", "attn.qkv", bias=biased),
        *dense("attention/out", "attn.proj"),
        *norm("mlp_norm", "norm2"),
        *dense("mlp_in", "mlp.fc1"),
        *dense("mlp_out", "mlp.fc2"),
    ]
    if "blocks.0.ls1.gamma" in names:
        rules += [*same("attention_scale", "ls1.gamma"), *same("mlp_scale", "ls2.gamma")]
    return rules


def check_parts(rules: Rules, names: Iterable[str], where: str) -> None:
    """Raises UserError if the file has a part of the model that mmjax does not build."""
    known = {name for rule in rules for name in rule.theirs}
    extra = sorted(set(names) - known - {"", "mask_token"})
    if extra:
        raise UserError(
            f"{where}: {extra[0]!r} and {len(extra) - 1} more tensors belong to no part that mmjax"
            " has of timm's ViT"
        )


def transformer(
    config: Mapping[str, Any], names: Mapping[str, Any], where: str, dtype: Any
) -> tuple[VisionTransformer, Rules]:
    """timm's VisionTransformer without its classifier, and its layout.

    Args:
        config: timm's config.json.
        names: the tensors by timm's names.
        where: the checkpoint, for messages.
        dtype: type of the computation.

    Raises:
        UserError: a tensor that tells a size is missing, or an option that mmjax does not have.
    """
    c = timm_names.arguments(config, names, where)
    for name, axes in AXES.items():
        if len(names[name].shape) != axes if name in names else "token" not in name:
            raise UserError(f"{where}: {name!r} with {axes} axes is missing: is the file damaged?")
    width, channels, *sides = names["patch_embed.proj.weight"].shape
    check_heads(where, width, c.num_heads)
    registers = names["reg_token"].shape[1] if "reg_token" in names else 0
    classed, after = "cls_token" in names, "fc_norm.weight" in names
    pooled = (str(c.global_pool), after)
    if pooled not in POOLINGS or (c.global_pool == "token" and not classed):
        raise UserError(f"{where}: global_pool={c.global_pool!r} is not one that mmjax has")
    cells, lead = names["pos_embed"].shape[1], classed + registers
    grid, placed = grid_of(cells, lead, tuple(sides), c.size, where)
    hidden, inner = (names[f"blocks.0.mlp.{name}.weight"].shape for name in ("fc1", "fc2"))
    gated = hidden[0] == 2 * inner[1]
    layers = len({name.split(".")[1] for name in names if name.startswith("blocks.")})
    backbone = VisionTransformer(
        width=width,
        layers=layers,
        heads=c.num_heads,
        mlp_width=inner[1],
        patch_size=tuple(sides),
        grid=grid,
        antialias=True,
        activation="silu" if gated else timm_names.ACTIVATIONS[c.act_layer],
        epsilon=c.epsilon,
        qkv_bias="blocks.0.attn.qkv.bias" in names,
        layer_scale=1.0 if "blocks.0.ls1.gamma" in names else None,
        gated=gated,
        patch_bias="patch_embed.proj.bias" in names,
        class_token=classed,
        class_position=placed,
        registers=registers,
        register_position=placed,
        pre_norm="norm_pre.weight" in names,
        final_norm="norm.weight" in names,
        pooling=POOLINGS[pooled],
        dtype=dtype,
    )
    rules = [
        *patches(
            "patches/projection", "patch_embed.proj", sides, channels, bias=backbone.patch_bias
        ),
        *reshaped("positions", "pos_embed", (cells, width), (1, cells, width)),
        *repeated(block(names), "transformer", "blocks", layers),
        *(attention_pool(width) if c.global_pool == "map" else ()),
    ]
    for ours, theirs, count in (
        ("class_token", "cls_token", int(classed)),
        ("registers", "reg_token", registers),
    ):
        if count:
            rules += reshaped(ours, theirs, (count, width), (1, count, width))
    for ours, theirs in (
        ("pre_norm", "norm_pre"),
        ("transformer/norm", "norm"),
        ("norm", "fc_norm"),
    ):
        if f"{theirs}.weight" in names:
            rules += norm(ours, theirs)
    return backbone, rules


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """timm's VisionTransformer, with its classifier if the file has one."""
    where = str(checkpoint.path)
    names = {normalise(name): tensor for name, tensor in checkpoint.weights.items()}
    backbone, rules = transformer(checkpoint.config, names, where, dtype)
    module, path, rules = classified(backbone, rules, names, "head")
    check_parts(rules, names, where)
    shapes = {"pixel_values": picture(backbone, names["patch_embed.proj.weight"].shape[1])}
    parts, inputs = {"image": Part(backbone, path)}, ("pixel_values",)
    return Architecture("timm_vit", module, rules, shapes, normalise, parts, inputs)


SPEC = Spec("timm_vit", recognises, build)
