"""The arithmetic of scaled dot-product attention."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def dot_product(
    q: Float[Array, "B H Q K"],
    k: Float[Array, "B H N K"],
    v: Float[Array, "B H N K"],
    allowed: Bool[Array, "b 1 q N"] | None = None,
    bias: Float[Array, "b2 H Q N"] | None = None,
    drop: Callable[[Array], Array] | None = None,
) -> Float[Array, "B H Q K"]:
    """softmax(q k^T / sqrt(K) + bias) v; b and b2 are B or 1, q is Q or 1.

    Keys not allowed weigh exactly zero; where none is, the result is zero.
    """
    return weigh(q, k, v, allowed, bias, drop)[0]


def weigh(q, k, v, allowed=None, bias=None, drop=None) -> tuple[Array, Array, Array, Array]:
    """The result; the weights, their sums (by which they are yet to be divided), top scores."""
    scores = scores_of(q, k, allowed, bias)
    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    weights = exponentials(scores, top, allowed)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    if allowed is not None:
        total = jnp.where(total > 0, total, 1.0)
    dropped = weights.astype(v.dtype)
    if drop is not None:
        dropped = drop(dropped)
    # Dividing [Q K] sums, not [Q N] weights: that halves the time of attention on a CPU.
    y = jnp.einsum("bhqn,bhnk->bhqk", dropped, v, preferred_element_type=jnp.float32)
    return (y / total).astype(v.dtype), weights, total, top


def scores_of(q, k, allowed, bias) -> Array:
    """[B H Q N] in float32, the least there is where not allowed."""
    q = q * (q.shape[-1] ** -0.5)  # fewer numbers than the scores
    scores = jnp.einsum("bhqk,bhnk->bhqn", q, k, preferred_element_type=jnp.float32)
    if bias is not None:
        scores = scores + bias
    return scores if allowed is None else jnp.where(allowed, scores, jnp.finfo(jnp.float32).min)


def exponentials(scores, subtracted, allowed) -> Array:
    """exp(scores - subtracted), exactly zero where not allowed."""
    weights = jnp.exp(scores - subtracted)
    # For queries without a real key, whose weights would all be 1.
    return weights if allowed is None else jnp.where(allowed, weights, 0.0)
