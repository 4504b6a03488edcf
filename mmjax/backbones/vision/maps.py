"""From and to the layouts of published networks of images and clips."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

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


class MapBackbone(nn.Module):
    """A convolutional network by the names and in the layout of transformers.

    Subclasses have a method `encode`, which gives the maps [B h w D], and the attributes
    `image_channels` (of the images) and `maps` (whether they stay maps, [B D h w], and the pooled
    vector is [B D 1 1]).
    """

    def __call__(
        self,
        pixel_values: Float[Array, "B C H W"],
        real: Bool[Array, " B"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """Images -> last_hidden_state [B N D], the last map row by row, and its mean pooler_output
        [B D]; the hidden states are all maps.

        `real`: whose statistics the batch norms take in training. None: those of all.

        Raises:
            UserError: images of other channels.
        """
        x = channels_last(pixel_values, self.image_channels)
        states = self.encode(x, real, deterministic=deterministic)
        last = states[-1]
        pooled = jnp.mean(last, axis=(1, 2), dtype=jnp.float32).astype(last.dtype)
        if self.maps:
            views = tuple(jnp.moveaxis(x, 3, 1) for x in states)
            pooled = pooled[:, :, None, None]
        else:
            views = tuple(x.reshape(x.shape[0], -1, x.shape[3]) for x in states)
        return Features(views[-1], pooled, views).named(output_hidden_states)
