"""Fewer vectors from many."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.masking import zero_masked
from mmjax.types import UserError


def masked_mean(x: Float[Array, "B N D"], mask: Bool[Array, "B N"]) -> Float[Array, "B D"]:
    """Mean over the real tokens, summed in float32; exact zeros for a row that has none."""
    total = jnp.sum(zero_masked(x, mask), axis=1, dtype=jnp.float32)
    count = jnp.sum(mask, axis=1, dtype=jnp.float32)
    return (total / jnp.maximum(count, 1.0)[:, None]).astype(x.dtype)


def window_mean(x: Float[Array, "B Y X D"], side: int) -> Float[Array, "B y x D"]:
    """Mean over windows of side x side cells of a grid, without overlap.

    Raises:
        UserError: the grid does not split into such windows.
    """
    batch, rows, columns, width = x.shape
    if side < 1 or rows % side or columns % side:
        raise UserError(
            f"pool: a grid of {rows}x{columns} tokens does not split into windows of {side}x{side}:"
            " choose a pool that divides both sides"
        )
    windows = x.reshape(batch, rows // side, side, columns // side, side, width)
    return jnp.mean(windows, axis=(2, 4), dtype=jnp.float32).astype(x.dtype)
