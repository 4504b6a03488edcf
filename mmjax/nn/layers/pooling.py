"""Fewer vectors from many."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.errors import UserError
from mmjax.nn.kernels import pooling as kernel
from mmjax.nn.kernels.switch import dispatch
from mmjax.nn.layers.masking import zero_masked


def masked_sum(x: Float[Array, "B N D"], mask: Bool[Array, "B N"]) -> Float[Array, "B D"]:
    """Sum over the real tokens, in float32."""
    return dispatch(x, mask, cpu=kernel.masked_sum, default=_plain_sum)


def _plain_sum(x, mask):
    return jnp.sum(zero_masked(x, mask), axis=1, dtype=jnp.float32)


def masked_mean(x: Float[Array, "B N D"], mask: Bool[Array, "B N"]) -> Float[Array, "B D"]:
    """Mean over the real tokens, summed in float32; exact zeros for a row that has none."""
    count = jnp.sum(mask, axis=1, dtype=jnp.float32)
    return (masked_sum(x, mask) / jnp.maximum(count, 1.0)[:, None]).astype(x.dtype)


def masked_max(x: Float[Array, "B N D"], mask: Bool[Array, "B N"]) -> Float[Array, "B D"]:
    """Largest value of each feature over the real tokens; exact zeros for a row that has none."""
    lowest = jnp.finfo(x.dtype).min
    largest = jnp.max(jnp.where(mask[..., None], x, lowest), axis=1)
    return zero_masked(largest, jnp.any(mask, axis=1))


def masked_softmax(scores: Float[Array, "*rows N"], mask: Bool[Array, "*rows N"]) -> Array:
    """Softmax over the real entries of the last axis, in float32: Float[*rows N].

    Masked entries weigh exactly zero, whatever their scores; so do all of a row that has no real
    one.
    """
    scores = jnp.where(mask, scores.astype(jnp.float32), jnp.finfo(jnp.float32).min)
    return jnp.where(mask, jax.nn.softmax(scores), 0.0)


def weighted_sum(
    weights: Float[Array, "B N"], x: Float[Array, "B N D"], mask: Bool[Array, "B N"]
) -> Float[Array, "B D"]:
    """Sum of weights times tokens over the real tokens, in float32; the result has x's type."""
    terms = weights[..., None] * zero_masked(x, mask).astype(jnp.float32)
    return jnp.sum(terms, axis=1).astype(x.dtype)


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
