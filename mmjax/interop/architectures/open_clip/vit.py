"""The ViT backbones of open_clip and of OpenAI's CLIP."""

from collections.abc import Mapping
from typing import Any

from mmjax.backbones.dual.dual import Projected
from mmjax.backbones.stack import check_heads
from mmjax.backbones.vision.vit import VisionTransformer
from mmjax.errors import UserError
from mmjax.interop.architectures.open_clip.blocks import activation, blocks, check, epsilon
from mmjax.interop.architectures.settings import patch_sizes, settings
from mmjax.interop.weights.layout import Rules, norm, patches, reshaped, same
from mmjax.nn.layers.dense import Dense

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
IMAGE_POOLING = {
    ("tok", False): "class",
    ("tok", True): "class_norm",
    ("avg", False): "mean",
    ("avg", True): "mean_norm",
}


def vit_backbone(
    config: Mapping[str, Any], width: int, quick: bool, dtype: Any, where: str
) -> tuple[Projected, Rules]:
    """The image backbone, `width` that of its features, and its layout."""
    check(config, where)
    c = settings(config, VISION, where)
    heads = c.width // max(c.head_width, 1)
    check_heads(where, c.width, heads)
    if (c.pool_type, c.final_ln_after_pool) not in IMAGE_POOLING:
        raise UserError(f"{where}: pool_type={c.pool_type!r} of pictures: mmjax has tok and avg")
    backbone = VisionTransformer(
        width=c.width,
        layers=c.layers,
        heads=heads,
        mlp_width=int(c.width * c.mlp_ratio),
        **patch_sizes(c),
        antialias=True,
        activation=activation(c, quick, where),
        epsilon=epsilon(c, where),
        layer_scale=c.ls_init_value,
        patch_bias=False,
        pre_norm=not c.no_ln_pre,
        final_norm=not c.final_ln_after_pool,
        pooling=IMAGE_POOLING[c.pool_type, c.final_ln_after_pool],
        dtype=dtype,
    )
    rules = [
        *reshaped("backbone/class_token", "visual.class_embedding", (1, c.width), (c.width,)),
        *patches("backbone/patches/projection", "visual.conv1", backbone.patch_size, bias=False),
        *same("backbone/positions", "visual.positional_embedding"),
        *(() if c.no_ln_pre else norm("backbone/pre_norm", "visual.ln_pre")),
        *blocks("backbone/transformer", c.layers, "visual.", scaled=c.ls_init_value is not None),
        *norm(
            "backbone/norm" if c.final_ln_after_pool else "backbone/transformer/norm",
            "visual.ln_post",
        ),
        *same("projection/kernel", "visual.proj"),
    ]
    return Projected(backbone, Dense(width, use_bias=False, dtype=dtype)), rules
