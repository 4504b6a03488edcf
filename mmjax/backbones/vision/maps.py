"""From and to the layouts of published convolutional networks."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.backbones.features import Features
from mmjax.errors import UserError


def channels_last(pixel_values: Float[Array, "B C H W"], channels: int) -> Float[Array, "B H W C"]:
    """Raises UserError for other channels than the model's."""
    if pixel_values.shape[1] != channels:
        raise UserError(
            f"pixel_values: {pixel_values.shape[1]} channels, but the model takes {channels}:"
            " give images [B channels H W]"
        )
    return jnp.moveaxis(pixel_values, 1, 3)


def features_of(states: Sequence[Float[Array, "B _ _ _"]], *, maps: bool = False) -> Features:
    """The cells of the last map [B h w D] as tokens, their mean, and those of all maps.

    With `maps` they stay maps, [B D h w] and [B D 1 1], as in transformers.
    """
    last = states[-1]
    pooled = jnp.mean(last, axis=(1, 2), dtype=jnp.float32).astype(last.dtype)
    if maps:
        views = tuple(jnp.moveaxis(x, 3, 1) for x in states)
        return Features(views[-1], pooled[:, :, None, None], views)
    views = tuple(x.reshape(x.shape[0], -1, x.shape[3]) for x in states)
    return Features(views[-1], pooled, views)
