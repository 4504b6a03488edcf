"""Scaled dot-product attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.dense import Dense
from mmjax.types import UserError


def attention_weights(
    q: Float[Array, "B H Q K"], k: Float[Array, "B H N K"], mask: Bool[Array, "B N"] | None = None
) -> Float[Array, "B H Q N"]:
    """softmax(q k^T / sqrt(K)) over the real keys, in float32.

    A masked key weighs exactly zero; a row without a real key weighs zero everywhere.
    """
    scores = jnp.einsum("bhqk,bhnk->bhqn", q, k, preferred_element_type=jnp.float32)
    scores = scores * (q.shape[-1] ** -0.5)
    if mask is None:
        return jax.nn.softmax(scores)
    keys = mask[:, None, None, :]
    lowest = jnp.finfo(jnp.float32).min
    return jnp.where(keys, jax.nn.softmax(jnp.where(keys, scores, lowest)), 0.0)


def attention(
    q: Float[Array, "B H Q K"],
    k: Float[Array, "B H N K"],
    v: Float[Array, "B H N K"],
    mask: Bool[Array, "B N"] | None = None,
) -> Float[Array, "B H Q K"]:
    """softmax(q k^T / sqrt(K)) v, with Q queries and N keys; heads before tokens.

    Args:
        q, k, v: queries, keys and values. Masked keys and values may hold anything finite.
        mask: True for the real keys. None: all are real.

    Returns:
        [B H Q K] in the type of `v`; exact zeros for the rows without a real key.
    """
    return jnp.einsum("bhqn,bhnk->bhqk", attention_weights(q, k, mask).astype(v.dtype), v)


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection to queries, keys and values.

    Attributes:
        heads: number of heads; it divides the width of the input.
        dropout: share of the attention weights dropped (rng collection "dropout").
        dtype: type of the computation; the softmax is in float32.
    """

    heads: int
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B N D"],
        mask: Bool[Array, "B N"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B N D"]:
        batch, length, width = x.shape
        if width % self.heads:
            raise UserError(
                f"attention: width {width} does not split into {self.heads} heads: "
                "choose heads that divide width"
            )
        qkv = Dense(3 * width, dtype=self.dtype, name="qkv")(x)
        qkv = qkv.reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = jnp.moveaxis(qkv, (2, 3), (0, 2))
        weights = attention_weights(q, k, mask).astype(v.dtype)
        weights = nn.Dropout(self.dropout)(weights, deterministic=deterministic)
        y = jnp.einsum("bhqn,bhnk->bqhk", weights, v).reshape(batch, length, width)
        return Dense(width, dtype=self.dtype, name="out")(y)
