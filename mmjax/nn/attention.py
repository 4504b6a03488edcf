"""Scaled dot-product attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.dense import Dense
from mmjax.types import UserError


def attention(
    q: Float[Array, "B H Q K"],
    k: Float[Array, "B H N K"],
    v: Float[Array, "B H N K"],
    mask: Bool[Array, "B N"] | None = None,
    drop: Callable[[Array], Array] | None = None,
) -> Float[Array, "B H Q K"]:
    """softmax(q k^T / sqrt(K)) v, with Q queries and N keys; heads before tokens.

    Args:
        q, k, v: queries, keys and values. Masked keys and values may hold anything finite.
        mask: True for the real keys. None: all are real.
        drop: dropout for the attention weights [B H Q N]. None: no dropout.

    Returns:
        [B H Q K] in the type of `v`, with a softmax in float32. A masked key weighs exactly zero;
        a row without a real key is exactly zero.
    """
    scores = jnp.einsum("bhqk,bhnk->bhqn", q, k, preferred_element_type=jnp.float32)
    scores = scores * (q.shape[-1] ** -0.5)
    if mask is None:
        weights = jax.nn.softmax(scores)
    else:
        keys = mask[:, None, None, :]
        lowest = jnp.finfo(jnp.float32).min
        # The second where is for rows without a real key, which softmax would spread evenly.
        weights = jnp.where(keys, jax.nn.softmax(jnp.where(keys, scores, lowest)), 0.0)
    weights = weights.astype(v.dtype)
    if drop is not None:
        weights = drop(weights)
    return jnp.einsum("bhqn,bhnk->bhqk", weights, v)


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
                f"{'/'.join(self.path)}: width {width} does not split into {self.heads} heads:"
                " choose heads that divide width"
            )
        qkv = Dense(3 * width, dtype=self.dtype, name="qkv")(x)
        qkv = qkv.reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = jnp.moveaxis(qkv, (2, 3), (0, 2))
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        y = attention(q, k, v, mask, drop)
        y = jnp.swapaxes(y, 1, 2).reshape(batch, length, width)
        return Dense(width, dtype=self.dtype, name="out")(y)
