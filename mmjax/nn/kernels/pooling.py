"""Sums over tokens."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.layers.masking import zero_masked


@jax.custom_jvp
def masked_sum(x: Float[Array, "B N D"], mask: Bool[Array, "B N"]) -> Float[Array, "B D"]:
    """As `mmjax.nn.layers.pooling.masked_sum`, one token after the other.

    XLA would write the real tokens to memory before it sums them, which takes twice the time.
    """

    def add(token, total):
        column = jax.lax.dynamic_index_in_dim(x, token, axis=1, keepdims=False)
        real = jax.lax.dynamic_index_in_dim(mask, token, axis=1, keepdims=False)
        return total + zero_masked(column, real).astype(jnp.float32)

    return jax.lax.fori_loop(0, x.shape[1], add, jnp.zeros((x.shape[0], x.shape[2]), jnp.float32))


@masked_sum.defjvp
def _jvp(primals, tangents):
    (x, mask), (d_x, _) = primals, tangents
    return masked_sum(x, mask), jnp.sum(zero_masked(d_x, mask), axis=1, dtype=jnp.float32)
