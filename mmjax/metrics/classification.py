"""Metrics for one label out of C classes."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def accuracy(logits: Float[Array, "B C"], labels: Int[Array, " B"]) -> Float[Array, " B"]:
    """1.0 where the highest logit is the label's (the lowest index wins a tie), else 0.0."""
    return (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
