"""The decoder of a sequence-to-sequence transformer (Vaswani et al. 2017,
https://arxiv.org/abs/1706.03762): text, by the tokens of any encoder."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax.backbones.stack import TransformerBackbone
from mmjax.errors import UserError
from mmjax.nn.layers.attention import CacheIndex
from mmjax.nn.layers.ids import rows_of


class TextDecoder(TransformerBackbone, kw_only=True):
    """Token ids [B L] and encoder states [B S C] -> hidden states, and logits of the next ids.

    Pre-norm blocks of causal self-attention, cross-attention and an mlp. What is masked contributes
    exactly nothing; what comes out at masked ids is finite and of no meaning.

    Attributes:
        vocabulary_size: V.
        positions: the most ids L, each with a learned vector.
        logits: what gives them: "tied", the table of the ids; "own", another matrix. None: there
            are none.
    """

    vocabulary_size: int
    positions: int
    logits: str | None = "tied"

    @nn.compact
    def __call__(
        self,
        ids: Int[Array, "B L"],
        encoder_states: Float[Array, "B S C"],
        mask: Bool[Array, "B L"] | None = None,
        position_ids: Int[Array, "b L"] | None = None,
        encoder_mask: Bool[Array, "B S"] | None = None,
        *,
        cache: CacheIndex | None = None,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """last_hidden_state [B L D], hidden_states, and logits [B L V].

        Args:
            ids: of the text.
            encoder_states, encoder_mask: tokens of the encoder, and which are real.
            mask: which ids are real.
            position_ids: the position of each id. None: 0, 1, ...
            cache: see `step`.

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
        x, states = self.blocks(causal=True).with_states(
            x,
            mask,
            context=encoder_states,
            context_mask=encoder_mask,
            cache=cache,
            deterministic=deterministic,
        )
        outputs = {"last_hidden_state": x, "hidden_states": (*states[:-1], x)}
        if self.logits is not None:
            if self.logits == "own":
                words = table("logits_table", self.vocabulary_size)
            outputs["logits"] = jnp.einsum(
                "bld,vd->blv", x, words.astype(self.dtype), preferred_element_type=jnp.float32
            )
        return outputs

    def step(
        self,
        ids: Int[Array, "B 1"],
        position: Int[Array, ""],
        encoder_states: Float[Array, "B S C"],
        encoder_mask: Bool[Array, "B S"] | None = None,
        *,
        length: int,
    ) -> Float[Array, "B V"]:
        """The ids at one position, after those at all positions before -> logits of the next ids.

        Keys and values are in the KV cache, variables of the collection "cache", which must be
        mutable. The first step makes it, for `length` positions and of the encoder states, which
        later steps do not read.
        """
        read = jnp.broadcast_to(jnp.arange(length) <= position, (len(ids), length))
        places, cache = position[None, None], CacheIndex(position, read)
        found = self(ids, encoder_states, None, places, encoder_mask, cache=cache)
        return found["logits"][:, 0]
