"""From raw clips to what a video encoder computes on."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.image import pixels
from mmjax.errors import UserError
from mmjax.nn.layers.masking import zero_masked
from mmjax.types import Tokens


def check_bytes(video: Shaped[Array, "R T H W 3"]) -> None:
    """Raises UserError if the video is not uint8."""
    if video.dtype != jnp.uint8:
        raise UserError(f"video: expected uint8 with values 0 to 255, got {video.dtype}")


def normalise(
    video: Shaped[Array, "R T H W 3"],
    dtype: Any,
    mean: float | tuple[float, ...] = 0.5,
    std: float | tuple[float, ...] = 0.5,
) -> Float[Array, "R T H W 3"]:
    """As for images, each frame by itself: with the defaults uint8 0..255 becomes -1..1.

    Raises:
        UserError: the video is not uint8.
    """
    check_bytes(video)
    frames = video.reshape(-1, *video.shape[2:])
    return pixels.normalise(frames, dtype, mean, std).reshape(video.shape)


def real_frames(
    mask: Bool[Array, "R T"] | None, video: Shaped[Array, "R T H W channels"]
) -> Bool[Array, "R T"]:
    """`mask`, or all True if there is none."""
    return jnp.ones(video.shape[:2], bool) if mask is None else mask


def zero_frames(
    video: Float[Array, "R T H W channels"], mask: Bool[Array, "R T"]
) -> Float[Array, "R T H W channels"]:
    """The clip with exact zeros in the frames that are not real."""
    return zero_masked(video, jnp.broadcast_to(mask[:, :, None, None], video.shape[:4]))


class VideoEncoder(nn.Module):
    """As `mmjax.encoders.image.pixels.ImageEncoder`, of clips."""

    def __call__(
        self,
        value: Shaped[Array, "R T H W 3"],
        mask: Bool[Array, "R T"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Clips [R T H W 3] and which of their frames are there -> Tokens [R N D].

        Raises:
            UserError: not uint8, or what `from_pixels` raises.
        """
        pixels = normalise(value, self.dtype, self.pixel_mean, self.pixel_std)
        return self.from_pixels(pixels, mask, deterministic=deterministic)
