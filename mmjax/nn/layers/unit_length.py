"""Vectors of length one."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def unit_length(x: Float[Array, "*rows E"]) -> Float[Array, "*rows E"]:
    """Rows over their length, in float32; zero rows stay zero, and have a gradient of 0."""
    x = x.astype(jnp.float32)
    # Over the largest first: the squares of large or small numbers are out of range.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True))
    exists = largest != 0  # NaN included: it is not hidden
    x = jnp.where(exists, x, 0) / jnp.where(exists, largest, 1)
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.where(exists, square, 1))
