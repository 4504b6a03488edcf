"""The decoder of a sequence-to-sequence transformer (Vaswani et al. 2017,
https://arxiv.org/abs/1706.03762): text, by the tokens of any encoder."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax.errors import UserError
from mmjax.nn.layers.attention import attention, merge_heads, split_projections
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.ids import rows_of
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import activation


class KVCache(NamedTuple):
    """Keys and values of a block, kept from one position to the next.

    keys, values: [B H N K] of the text; zeros at the positions to come.
    cross: keys and values [B H S K] of the encoder states. None: not computed yet.
    """

    keys: Array
    values: Array
    cross: tuple[Array, Array] | None = None


class DecoderBlock(nn.Module):
    """Causal self-attention, cross-attention and an mlp, each a pre-norm residual branch.

    Attributes:
        heads, mlp_width, activation, epsilon: as of `TextDecoder`.
        dropout: share dropped in training of what each branch adds.
        dtype: type of the computation; norms and softmax are in float32.
    """

    heads: int
    mlp_width: int
    activation: str
    epsilon: float
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B L D"],
        mask: Bool[Array, "B N"] | None,
        encoder_states: Float[Array, "B S C"],
        encoder_mask: Bool[Array, "B S"] | None = None,
        cache: KVCache | None = None,
        position: Int[Array, ""] | int = 0,
        *,
        deterministic: bool = True,
    ) -> tuple[Float[Array, "B L D"], KVCache]:
        """Tokens [B L D] after the block, and its cache with them.

        Args:
            x: all tokens; with a cache, only the one at `position`.
            mask: which tokens are real; with a cache, which of its positions are read.
            encoder_states, encoder_mask: tokens of the encoder, and which are real.
            cache: of the tokens before. None: token i reads the tokens 0 to i of x.
            position: where x goes in the cache.
        """
        width = x.shape[-1]

        def dense(name: str, features: int, y: Array) -> Array:
            return Dense(features, dtype=self.dtype, name=name)(y)

        def norm(name: str) -> Array:
            return LayerNorm(self.epsilon, name=f"{name}_norm")(x)

        def add(y: Array) -> Array:
            return x + nn.Dropout(self.dropout, deterministic=deterministic)(y)

        qkv = dense("qkv", 3 * width, norm("attention"))
        q, k, v = split_projections(qkv, 3, self.heads)
        if cache is not None:
            k = jax.lax.dynamic_update_slice(cache.keys, k, (0, 0, position, 0))
            v = jax.lax.dynamic_update_slice(cache.values, v, (0, 0, position, 0))
        y = attention(q, k, v, mask, causal=cache is None)
        x = add(dense("out", width, merge_heads(y)))

        (q,) = split_projections(dense("cross_q", width, norm("cross")), 1, self.heads)
        if cache is None or cache.cross is None:
            kv = dense("cross_kv", 2 * width, encoder_states)
            cross = tuple(split_projections(kv, 2, self.heads))
        else:
            cross = cache.cross
        y = attention(q, *cross, encoder_mask)
        x = add(dense("cross_out", width, merge_heads(y)))

        y = activation(self.activation)(dense("mlp_in", self.mlp_width, norm("mlp")))
        return add(dense("mlp_out", width, y)), KVCache(k, v, cross)


class TextDecoder(nn.Module):
    """Token ids [B L] and encoder states [B S C] -> hidden states, and logits of the next ids.

    What is masked contributes exactly nothing; what comes out at masked ids is finite and of no
    meaning.

    Attributes:
        width, layers, heads, mlp_width, activation, epsilon: of the transformer.
        vocabulary_size: V.
        positions: the most ids L, each with a learned vector.
        logits: what gives them: "tied", the table of the ids; "own", another matrix. None: there
            are none.
        dropout: share dropped in training, of the input and in the blocks.
        dtype: type of the computation; the logits are in float32.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    vocabulary_size: int
    positions: int
    activation: str = "gelu_exact"
    epsilon: float = 1e-5
    logits: str | None = "tied"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        ids: Int[Array, "B L"],
        encoder_states: Float[Array, "B S C"],
        mask: Bool[Array, "B N"] | None = None,
        position_ids: Int[Array, "b L"] | None = None,
        encoder_mask: Bool[Array, "B S"] | None = None,
        cache: Sequence[KVCache] | None = None,
        *,
        deterministic: bool = True,
    ) -> tuple[dict[str, Any], tuple[KVCache, ...]]:
        """last_hidden_state [B L D], hidden_states and logits [B L V], and the cache of each block.

        Args:
            ids: of the text; with a cache, only the one at the first of position_ids.
            encoder_states, encoder_mask: tokens of the encoder, and which are real.
            mask: which ids are real; with a cache, which of its positions are read.
            position_ids: the position of each id. None: 0, 1, ...
            cache: of the ids before, at first `empty`. None: there are none.

        Raises:
            UserError: more ids than positions, or an id that is in no table.
        """
        length = ids.shape[1]
        if length > self.positions:
            raise UserError(
                f"decoder_input_ids: {length} words, but the model takes {self.positions}:"
                " truncate the texts to them"
            )

        def table(name: str, count: int) -> Array:
            shape = (count, self.width)
            return self.param(name, nn.initializers.normal(0.02), shape, jnp.float32)

        if position_ids is None:
            position_ids = jnp.arange(length)[None]
        words = table("words", self.vocabulary_size)
        x = rows_of(words, ids, "decoder_input_ids")
        x = x + rows_of(table("positions", self.positions), position_ids, "decoder_position_ids")
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x.astype(self.dtype))
        states, caches = [x], []
        for layer in range(self.layers):
            block = DecoderBlock(
                self.heads,
                self.mlp_width,
                self.activation,
                self.epsilon,
                self.dropout,
                self.dtype,
                name=f"block_{layer}",
            )
            x, new = block(
                x,
                mask,
                encoder_states,
                encoder_mask,
                None if cache is None else cache[layer],
                position_ids[0, 0],
                deterministic=deterministic,
            )
            states.append(x)
            caches.append(new)
        x = LayerNorm(self.epsilon, name="norm")(x).astype(self.dtype)
        outputs = {"last_hidden_state": x, "hidden_states": (*states[:-1], x)}
        if self.logits is not None:
            if self.logits == "own":
                words = table("logits_table", self.vocabulary_size)
            outputs["logits"] = jnp.einsum(
                "bld,vd->blv", x, words.astype(self.dtype), preferred_element_type=jnp.float32
            )
        return outputs, tuple(caches)

    def empty(self, rows: int, length: int) -> tuple[KVCache, ...]:
        """The cache of each block before the first of `length` ids."""
        shape = (rows, self.heads, length, self.width // self.heads)
        zeros = jnp.zeros(shape, self.dtype)
        return (KVCache(zeros, zeros),) * self.layers

    def step(
        self,
        ids: Int[Array, "B 1"],
        position: Int[Array, ""] | int,
        cache: Sequence[KVCache],
        encoder_states: Float[Array, "B S C"],
        encoder_mask: Bool[Array, "B S"] | None = None,
    ) -> tuple[Float[Array, "B V"], tuple[KVCache, ...]]:
        """One id more, at `position` -> logits of the next, and the cache with this one.

        The encoder states are read at the first step; the cache has their keys and values then.
        """
        read = jnp.arange(cache[0].keys.shape[2]) <= position
        mask = jnp.broadcast_to(read, (ids.shape[0], len(read)))
        places = jnp.asarray(position)[None, None]
        found, cache = self(ids, encoder_states, mask, places, encoder_mask, cache)
        return found["logits"][:, 0], cache
