"""From raw pictures to what an image encoder computes on."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.encoder import Encoder
from mmjax.errors import UserError
from mmjax.nn.layers.masking import zero_masked
from mmjax.types import Tokens

Constant = float | tuple[float, ...]
# Of the pixels in 0..1, by channel: what the published ImageNet networks normalise by.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(
    image: Shaped[Array, "R H W 3"],
    dtype: Any,
    mean: Constant = 0.5,
    std: Constant = 0.5,
) -> Float[Array, "R H W 3"]:
    """(image / 255 - mean) / std; with the defaults uint8 0..255 becomes -1..1.

    `mean` and `std` are one number, or one for each channel.

    Raises:
        UserError: the image is not uint8.
    """
    if image.dtype != jnp.uint8:
        raise UserError(f"image: expected uint8 with values 0 to 255, got {image.dtype}")
    mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    return ((image.astype(jnp.float32) / 255.0 - mean) / std).astype(dtype)


def of_rows(x: Float[Array, "R N D"], rows: Bool[Array, " R"]) -> Tokens:
    """The tokens of pictures, exact zeros for those that are not there."""
    tokens = jnp.broadcast_to(rows[:, None], x.shape[:2])
    return Tokens(zero_masked(x, tokens), tokens)


class SeenEncoder(Encoder):
    """An encoder of bytes [R ... H W 3], images or clips, or of normalised pixels.

    The base of each has a method `normalised` of bytes, and `shown` of (pixels, which images or
    frames are there or None), which gives pixels with zeros where there is none, and what is there.
    """

    def prepared(self, value: Array, mask: Array | None, _: bool) -> tuple[Array, Array]:
        """Normalised pixels and what is there.

        Raises:
            UserError: not uint8.
        """
        return self.shown(self.normalised(value), mask)

    def from_pixels(
        self, pixels: Array, mask: Array | None = None, *, deterministic: bool = True, **given: Any
    ) -> Tokens:
        """As the call, from normalised pixels, of which a gradient may be taken."""
        return self.encode(*self.shown(pixels, mask), deterministic, **given)


class PixelEncoder(SeenEncoder, kw_only=True):
    """An encoder of bytes, which it normalises.

    Attributes:
        pixel_mean, pixel_std: of the data, with pixels in 0..1, one number or one for each channel;
            what the pixels are normalised by.
    """

    pixel_mean: Constant = 0.5
    pixel_std: Constant = 0.5


class ImageEncoder(PixelEncoder, kw_only=True):
    """An encoder of images; its `encode` gets normalised ones, zeros where there is none, and which
    of them are there [R]."""

    def normalised(self, value: Shaped[Array, "R H W 3"]) -> Float[Array, "R H W 3"]:
        """See `normalise`."""
        return normalise(value, self.dtype, self.pixel_mean, self.pixel_std)

    def shown(
        self, pixels: Float[Array, "R H W 3"], mask: Bool[Array, " R"] | None
    ) -> tuple[Float[Array, "R H W 3"], Bool[Array, " R"]]:
        """The images, zeros where there is none, and which are there."""
        rows = jnp.ones(pixels.shape[:1], bool) if mask is None else mask
        return zero_masked(pixels, jnp.broadcast_to(rows[:, None, None], pixels.shape[:3])), rows
