"""From raw pictures to what an image encoder computes on."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.types import UserError


def normalise(image: Shaped[Array, "R H W 3"], dtype: Any) -> Float[Array, "R H W 3"]:
    """uint8 0..255 to -1..1.

    Raises:
        UserError: the image is not uint8.
    """
    if image.dtype != jnp.uint8:
        raise UserError(f"image: expected uint8 with values 0 to 255, got {image.dtype}")
    return image.astype(dtype) / 127.5 - 1.0


def present(mask: Bool[Array, " R"] | None, rows: int) -> Bool[Array, " R"]:
    """`mask`, or all True if there is none."""
    return jnp.ones((rows,), bool) if mask is None else mask
