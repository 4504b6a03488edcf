"""Pre-norm transformer (Xiong et al. 2020, https://arxiv.org/abs/2002.04745)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.attention import SelfAttention
from mmjax.nn.dense import Dense


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); the mlp is Dense, GELU, Dense.

    Attributes:
        heads: number of attention heads; it divides the width D.
        mlp_ratio: hidden width of the mlp, in units of D.
        dropout: share dropped of the attention weights and of what each branch adds.
        dtype: type of the computation; norms and softmax are in float32.
    """

    heads: int
    mlp_ratio: float | int = 4
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
        width = x.shape[-1]
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        attend = SelfAttention(self.heads, self.dropout, self.dtype, name="attention")
        y = nn.LayerNorm(dtype=jnp.float32, name="attention_norm")(x)
        x = x + drop(attend(y, mask, deterministic=deterministic))
        y = nn.LayerNorm(dtype=jnp.float32, name="mlp_norm")(x)
        y = Dense(int(width * self.mlp_ratio), dtype=self.dtype, name="mlp_in")(y)
        y = Dense(width, dtype=self.dtype, name="mlp_out")(jax.nn.gelu(y))
        return x + drop(y)


class Transformer(nn.Module):
    """Blocks one after the other, and the norm that closes a pre-norm stack.

    Masked tokens are never attended to; what this returns at their places is finite and of no
    meaning, so the caller zeroes it.

    Attributes:
        layers: number of blocks.
        heads, mlp_ratio, dropout, dtype: as in Block.
    """

    layers: int
    heads: int
    mlp_ratio: float | int = 4
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
        x = x.astype(self.dtype)
        for layer in range(self.layers):
            block = Block(
                self.heads, self.mlp_ratio, self.dropout, self.dtype, name=f"block_{layer}"
            )
            x = block(x, mask, deterministic=deterministic)
        return nn.LayerNorm(dtype=jnp.float32, name="norm")(x).astype(self.dtype)
