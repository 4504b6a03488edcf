"""From and to the layouts of published networks of images and clips."""

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


def clips_last(
    pixel_values: Float[Array, "B T C H W"],
    clip: tuple[int, int, int],
    channels: int,
    tubelet: tuple[int, int, int],
) -> Float[Array, "B _ _ _ C"]:
    """Clips without what is left after the last whole tubelet, in time, below and at the right.

    Raises:
        UserError: a clip of other frames, rows and columns than `clip`, or of other channels.
    """
    _, frames, given, *size = pixel_values.shape
    if (frames, *size) != clip or given != channels:
        found, wanted = (
            f"{t} frames of {y}x{x} and {c} channels"
            for t, y, x, c in ((frames, *size, given), (*clip, channels))
        )
        raise UserError(
            f"pixel_values: {found}, but the model takes {wanted}: sample and resize the clips"
        )
    t, y, x = (length - length % side for length, side in zip(clip, tubelet, strict=True))
    return jnp.moveaxis(pixel_values, 2, 4)[:, :t, :y, :x]


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
