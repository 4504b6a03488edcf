"""From raw clips to what a video encoder computes on."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.image import pixels
from mmjax.errors import UserError
from mmjax.nn.layers.masking import zero_masked


def check_bytes(video: Shaped[Array, "R T H W 3"]) -> None:
    """Raises UserError if the video is not uint8."""
    if video.dtype != jnp.uint8:
        raise UserError(f"video: expected uint8 with values 0 to 255, got {video.dtype}")


def normalise(
    video: Shaped[Array, "R T H W 3"],
    dtype: Any,
    mean: pixels.Constant = 0.5,
    std: pixels.Constant = 0.5,
) -> Float[Array, "R T H W 3"]:
    """As for images, each frame by itself: with the defaults uint8 0..255 becomes -1..1.

    Raises:
        UserError: the video is not uint8.
    """
    check_bytes(video)
    frames = video.reshape(-1, *video.shape[2:])
    return pixels.normalise(frames, dtype, mean, std).reshape(video.shape)


def zero_frames(
    video: Float[Array, "R T H W channels"], mask: Bool[Array, "R T"]
) -> Float[Array, "R T H W channels"]:
    """The clip with exact zeros in the frames that are not real."""
    return zero_masked(video, jnp.broadcast_to(mask[:, :, None, None], video.shape[:4]))


class VideoEncoder(pixels.PixelEncoder, kw_only=True):
    """An encoder of clips; its `encode` gets normalised ones, zeros (grey) in frames that are not
    real, and which are [R T]."""

    def normalised(self, value: Shaped[Array, "R T H W 3"]) -> Float[Array, "R T H W 3"]:
        """See `normalise`."""
        return normalise(value, self.dtype, self.pixel_mean, self.pixel_std)

    def shown(
        self, pixels: Float[Array, "R T H W 3"], mask: Bool[Array, "R T"] | None
    ) -> tuple[Float[Array, "R T H W 3"], Bool[Array, "R T"]]:
        """The clips, zeros in frames that are not there, and which are."""
        mask = jnp.ones(pixels.shape[:2], bool) if mask is None else mask
        return zero_frames(pixels, mask), mask
