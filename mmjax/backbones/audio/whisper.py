"""Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356): speech to words."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from mmjax.backbones.audio.spectrogram import EPSILON, WhisperEncoder
from mmjax.backbones.stack import as_mask
from mmjax.errors import UserError
from mmjax.nn.layers.attention import attention, merge_heads, split_projections
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.ids import rows_of
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import activation


class Remembered(NamedTuple):
    """What a block of the decoder keeps from one word to the next.

    keys, values: [B H N K] of the words; those that are not there yet are zeros.
    heard: keys and values [B H S K] of the encoder's tokens. None: not computed yet.
    """

    keys: Array
    values: Array
    heard: tuple[Array, Array] | None = None


class DecoderBlock(nn.Module):
    """Self-attention, attention to what was heard, and an mlp, each a pre-norm residual branch.

    Attributes:
        heads, mlp_width, activation: of the transformer.
        dropout: share dropped in training of what each branch adds.
        dtype: type of the computation; norms and softmax are in float32.
    """

    heads: int
    mlp_width: int
    activation: str
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B L D"],
        mask: Bool[Array, "B N"] | None,
        context: Float[Array, "B S D"] | None = None,
        memory: Remembered | None = None,
        place: Int[Array, ""] | int = 0,
        *,
        deterministic: bool = True,
    ) -> tuple[Float[Array, "B L D"], Remembered]:
        """The words after the block, and what to remember.

        Args:
            x: all words; with a memory, only the one at `place`.
            mask: which words are real; with a memory, which of its places may be read.
            context: what was heard; None: the memory has its keys and values.
            memory: of the words before. None: word i reads the words 0 to i of x.
            place: where the word goes in the memory.
        """
        width = x.shape[-1]

        def dense(name: str, features: int, y: Array) -> Array:
            return Dense(features, dtype=self.dtype, name=name)(y)

        def heads(y: Array, count: int) -> Sequence[Array]:
            return split_projections(y, count, self.heads)

        def add(x: Array, y: Array) -> Array:
            return x + nn.Dropout(self.dropout, deterministic=deterministic)(y)

        y = LayerNorm(EPSILON, name="attention_norm")(x)
        q, k, v = heads(dense("qkv", 3 * width, y), 3)
        if memory is not None:
            k = jax.lax.dynamic_update_slice(memory.keys, k, (0, 0, place, 0))
            v = jax.lax.dynamic_update_slice(memory.values, v, (0, 0, place, 0))
        y = attention(q, k, v, mask, causal=memory is None)
        x = add(x, dense("out", width, merge_heads(y)))

        y = LayerNorm(EPSILON, name="cross_norm")(x)
        (q,) = heads(dense("cross_q", width, y), 1)
        heard = memory.heard if context is None else heads(dense("cross_kv", 2 * width, context), 2)
        y = attention(q, *heard)
        x = add(x, dense("cross_out", width, merge_heads(y)))

        y = dense("mlp_in", self.mlp_width, LayerNorm(EPSILON, name="mlp_norm")(x))
        x = add(x, dense("mlp_out", width, activation(self.activation)(y)))
        return x, Remembered(k, v, tuple(heard))


class WhisperDecoder(nn.Module):
    """Words and what was heard -> hidden states of the words, and logits of the next ones.

    Attributes:
        width, layers, heads, mlp_width, activation: of the transformer.
        vocabulary_size: V.
        positions: the most words L.
        logits: what gives them: "tied", the table of the words; "own", another matrix. None: there
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
    logits: str | None = "tied"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        ids: Int[Array, "B L"],
        places: Int[Array, "b L"],
        mask: Bool[Array, "B N"] | None = None,
        context: Float[Array, "B S D"] | None = None,
        memory: Sequence[Remembered] | None = None,
        *,
        deterministic: bool = True,
    ) -> tuple[dict[str, Any], tuple[Remembered, ...]]:
        """Outputs and what to remember; see DecoderBlock. `places`: positions of the words."""

        def table(name: str, count: int) -> Array:
            shape = (count, self.width)
            return self.param(name, nn.initializers.normal(0.02), shape, jnp.float32)

        words = table("words", self.vocabulary_size)
        x = rows_of(words, ids, "decoder_input_ids")
        x = x + rows_of(table("positions", self.positions), places, "decoder_position_ids")
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x.astype(self.dtype))
        states, kept = [x], []
        for layer in range(self.layers):
            block = DecoderBlock(
                self.heads,
                self.mlp_width,
                self.activation,
                self.dropout,
                self.dtype,
                name=f"block_{layer}",
            )
            before = None if memory is None else memory[layer]
            x, new = block(x, mask, context, before, places[0, 0], deterministic=deterministic)
            states.append(x)
            kept.append(new)
        x = LayerNorm(EPSILON, name="norm")(x).astype(self.dtype)
        outputs = {"last_hidden_state": x, "hidden_states": (*states[:-1], x)}
        if self.logits is not None:
            if self.logits == "own":
                words = table("logits_table", self.vocabulary_size)
            outputs["logits"] = jnp.einsum(
                "bld,vd->blv", x, words.astype(self.dtype), preferred_element_type=jnp.float32
            )
        return outputs, tuple(kept)

    def empty(self, rows: int, places: int) -> tuple[Remembered, ...]:
        """A memory for `places` words, before the first."""
        shape = (rows, self.heads, places, self.width // self.heads)
        zeros = jnp.zeros(shape, self.dtype)
        return (Remembered(zeros, zeros),) * self.layers


class WhisperModel(nn.Module):
    """Spectrograms and words -> hidden states of both, and logits [B L V] of the next words.

    Attributes:
        encoder, decoder: the halves.
    """

    encoder: WhisperEncoder
    decoder: WhisperDecoder

    def __call__(
        self,
        input_features: Float[Array, "B F T"],
        decoder_input_ids: Int[Array, "B L"] | None = None,
        decoder_attention_mask: Shaped[Array, "B L"] | None = None,
        decoder_position_ids: Int[Array, "b L"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """The outputs of the encoder, and with words those of the decoder.

        Raises:
            UserError: too long a recording or a text.
        """
        flags = {"deterministic": deterministic}
        heard = self.encoder(input_features, output_hidden_states=output_hidden_states, **flags)
        outputs = {f"encoder_{name}": value for name, value in heard.items()}
        if decoder_input_ids is None:
            return outputs
        length = decoder_input_ids.shape[1]
        if length > self.decoder.positions:
            raise UserError(
                f"decoder_input_ids: {length} words, but the model takes {self.decoder.positions}:"
                " truncate the texts to them"
            )
        places = decoder_position_ids
        places = jnp.arange(length)[None] if places is None else places
        mask = as_mask(decoder_attention_mask)
        context = heard["last_hidden_state"]
        found, _ = self.decoder(decoder_input_ids, places, mask, context, **flags)
        states = found.pop("hidden_states")
        if output_hidden_states:
            outputs["decoder_hidden_states"] = states
        return outputs | found

    def encode(self, input_features: Float[Array, "B F T"]) -> Float[Array, "B S D"]:
        """What was heard."""
        return self.encoder(input_features)["last_hidden_state"]

    def step(
        self,
        ids: Int[Array, "B 1"],
        place: Int[Array, ""],
        memory: Sequence[Remembered],
        context: Float[Array, "B S D"] | None = None,
    ) -> tuple[Float[Array, "B V"], tuple[Remembered, ...]]:
        """One word more -> logits of the next, and the memory with this one.

        Args:
            ids: the word.
            place: its position, from 0.
            memory: of the words before it; for the first, `decoder.empty`.
            context: what was heard, for the first word only.
        """
        places = jnp.arange(memory[0].keys.shape[2])
        mask = jnp.broadcast_to(places <= place, (ids.shape[0], len(places)))
        found, memory = self.decoder(ids, place[None, None], mask, context, memory)
        return found["logits"][:, 0], memory
