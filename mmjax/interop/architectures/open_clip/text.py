"""The text backbones of open_clip and of OpenAI's CLIP."""

from collections.abc import Mapping
from typing import Any

from mmjax.backbones.dual.dual import Projected
from mmjax.backbones.stack import check_heads
from mmjax.backbones.text.transformer import TextBackbone
from mmjax.errors import UserError
from mmjax.interop.architectures.open_clip.blocks import activation, blocks, check, epsilon
from mmjax.interop.architectures.settings import settings
from mmjax.interop.weights.layout import Rules, dense, norm, same
from mmjax.nn.layers.dense import Dense

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
TEXTS = {"argmax": "highest", "eos": "equal", "first": "first", "last": "final"}


def text_backbone(
    config: Mapping[str, Any], width: int, quick: bool, dtype: Any, where: str
) -> tuple[Projected, Rules]:
    """The text backbone, `width` that of its features, and its layout."""
    check(config, where)
    c = settings(config, TEXT, where)
    check_heads(where, c.width, c.heads)
    if c.ls_init_value is not None or c.pool_type not in TEXTS:
        raise UserError(
            f"{where}: pool_type={c.pool_type!r}, ls_init_value={c.ls_init_value!r} of texts:"
            f" mmjax has {', '.join(TEXTS)} without layer scale"
        )
    backbone = TextBackbone(
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
        *same("backbone/words/embedding", "token_embedding.weight"),
        *same("backbone/positions/embedding", "positional_embedding"),
        *blocks("backbone/transformer", c.layers, ""),
        *norm("backbone/transformer/norm", "ln_final"),
    ]
    if c.proj_type == "none":
        return Projected(backbone), rules
    rules += (
        dense("projection", "text_projection")
        if c.proj_bias
        else same("projection/kernel", "text_projection")
    )
    return Projected(backbone, Dense(width, c.proj_bias, dtype)), rules
