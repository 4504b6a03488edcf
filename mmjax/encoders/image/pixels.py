"""From raw pictures to what an image encoder computes on."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.errors import UserError
from mmjax.types import Tokens

# Of the pixels in 0..1, by channel: what the published ImageNet networks normalise by.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(
    image: Shaped[Array, "R H W 3"],
    dtype: Any,
    mean: float | tuple[float, ...] = 0.5,
    std: float | tuple[float, ...] = 0.5,
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


def present(mask: Bool[Array, " R"] | None, rows: int) -> Bool[Array, " R"]:
    """`mask`, or all True if there is none."""
    return jnp.ones((rows,), bool) if mask is None else mask


class ImageEncoder(nn.Module):
    """What takes bytes: those of a subclass, normalised, go to its method `from_pixels`.

    Subclasses have the attributes `pixel_mean`, `pixel_std` and `dtype` of `normalise`.
    """

    def __call__(
        self,
        value: Shaped[Array, "R H W 3"],
        mask: Bool[Array, " R"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Images [R H W 3] and which of them are there -> Tokens [R N D].

        Raises:
            UserError: not uint8, or what `from_pixels` raises.
        """
        pixels = normalise(value, self.dtype, self.pixel_mean, self.pixel_std)
        return self.from_pixels(pixels, mask, deterministic=deterministic)
