"""The backbones of open_clip that are vision transformers of timm, SigLIP's among them.

Their config has timm's name of the architecture in place of sizes, which the tensors tell.
"""

from collections.abc import Mapping
from typing import Any

from mmjax.backbones.dual.dual import Projected
from mmjax.errors import UserError
from mmjax.interop.architectures.settings import pair, settings
from mmjax.interop.architectures.vision import timm_vit
from mmjax.interop.weights.layout import Rules, dense, prefixed
from mmjax.nn.layers.dense import Dense

TRUNK = "visual.trunk."
VISION = {
    "timm_model_name": "",
    "timm_pool": "avg",
    "timm_proj": None,
    "timm_proj_bias": False,
    "image_size": 224,
}


def projection(
    proj: str | None, bias: bool, backbone: Any, width: int, dtype: Any, where: str
) -> tuple[Projected, Rules]:
    """What projects the pooled vector: nothing, a layer after the model, or timm's classifier.

    Raises:
        UserError: another kind, or features of another width than `width`.
    """
    if proj == "none":
        if backbone.width != width:
            raise UserError(
                f"{where}: timm_proj='none' with embed_dim={width}: the features of its timm model"
                f" have {backbone.width} channels, and nothing projects them"
            )
        return Projected(backbone), []
    if proj == "linear":
        rules = dense("projection", "visual.head.proj", bias=bias)
        return Projected(backbone, Dense(width, bias, dtype)), rules
    if not proj:
        return Projected(backbone, Dense(width, dtype=dtype)), dense("projection", f"{TRUNK}head")
    raise UserError(f"{where}: timm_proj={proj!r}: mmjax has 'linear', 'none' and null")


def timm_backbone(
    config: Mapping[str, Any], weights: Mapping[str, Any], width: int, dtype: Any, where: str
) -> tuple[Projected, Rules]:
    """The image backbone, `width` that of its features, and its layout.

    Raises:
        UserError: no plain vision transformer of timm, or a pooling or projection that mmjax does
            not have.
    """
    c = settings({"timm_proj": "linear", **config}, VISION, where)
    names = {
        name.removeprefix(TRUNK): tensor
        for name, tensor in weights.items()
        if name.startswith(TRUNK)
    }
    if not timm_vit.plain(names):
        raise UserError(
            f"{where}: timm_model_name={c.timm_model_name!r}: of timm's models mmjax builds only"
            " plain ViTs"
        )
    described = {
        "architecture": c.timm_model_name,
        "pretrained_cfg": {"input_size": [3, *pair(c.image_size)]},
    }
    if c.timm_pool or c.timm_proj != "linear":  # "" before a layer leaves timm's own pooling
        described["global_pool"] = c.timm_pool
    backbone, rules = timm_vit.transformer(described, names, where, dtype)
    if backbone.pooling is None:
        raise UserError(f"{where}: timm_pool={c.timm_pool!r} gives no features")
    module, last = projection(c.timm_proj, c.timm_proj_bias, backbone, width, dtype, where)
    known = {"head.weight", "head.bias"} if not c.timm_proj else set()
    timm_vit.check_parts(rules, set(names) - known, where)
    return module, [*prefixed(rules, "backbone/", TRUNK), *last]
