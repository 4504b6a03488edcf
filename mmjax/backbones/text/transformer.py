"""Text transformers: BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805), RoBERTa (Liu et
al. 2019, https://arxiv.org/abs/1907.11692), those of CLIP (Radford et al. 2021,
https://arxiv.org/abs/2103.00020) and SigLIP, and what lies between."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from mmjax.backbones.stack import Features, TransformerBackbone, as_mask
from mmjax.errors import UserError
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.embedding import LearnedPositions, WordEmbedding
from mmjax.nn.layers.ids import rows_of
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.positions import place


def places_of(ids: Int[Array, "B L"], padding: int) -> Int[Array, "B L"]:
    """The position of each word, as in RoBERTa: from padding + 1 on, counting what is not padding.

    With padding=1, [[5, 6, 1, 7]] -> [[2, 3, 1, 4]].
    """
    real = ids != padding
    return jnp.cumsum(real, axis=1) * real + padding


def _at(x: Array, place: Array) -> Array:
    return jnp.take_along_axis(x, place[:, None, None], axis=1)[:, 0]


def _end(backbone: "TextBackbone", x: Array, ids: Array) -> Array:
    # Checkpoints of CLIP with the id 2 are older than the rule; theirs is the highest of all ids.
    ends = ids if backbone.end_id == 2 else ids == backbone.end_id
    return _at(x, jnp.argmax(ends, axis=1))


def _last(backbone: "TextBackbone", x: Array, _: Array) -> Array:
    return Dense(backbone.head_width or backbone.width, dtype=backbone.dtype, name="head")(x[:, -1])


def _tanh(backbone: "TextBackbone", x: Array, _: Array) -> Array:
    return jnp.tanh(Dense(backbone.width, dtype=backbone.dtype, name="pooler")(x[:, 0]))


# From the backbone, its last tokens and the word ids: the pooled vector.
POOLINGS: Mapping[str, Callable[["TextBackbone", Array, Array], Array]] = {
    "end": _end,
    "equal": lambda backbone, x, ids: _at(x, jnp.argmax(ids == backbone.end_id, axis=1)),
    "final": lambda _, x, __: x[:, -1],
    "first": lambda _, x, __: x[:, 0],
    "highest": lambda _, x, ids: _at(x, jnp.argmax(ids, axis=1)),
    "last": _last,
    "tanh": _tanh,
}


class TextBackbone(TransformerBackbone, kw_only=True):
    """input_ids [B L] -> last_hidden_state [B L D], pooler_output [B D].

    Masked words are read by none; what comes out at their places is finite and of no meaning.

    Attributes:
        vocabulary_size: number of word ids.
        norm, causal: of the transformer.
        positions: number of learned positions. None: as at initialisation; 0: there are none.
        placing: "learned", or as of `mmjax.nn.layers.positions.place`.
        embedding_norm: whether the embeddings pass a norm before the first block.
        token_types: rows of a table of segment embeddings; 0: there is none. Without
            token_type_ids every word gets the first.
        padding: the id that positions do not count. None: they count all.
        pooling: at the first place of `end_id` "equal" or, where that is 2, of the highest id as
            "end" (CLIP's rule); of the "highest" id; at the "first" or "final" place; "last" (a
            dense layer at the last place), "tanh" (one at the first). None: no pooler_output.
        end_id: of the word that ends a text.
        head_width: of the dense layer of "last". None: D.
    """

    vocabulary_size: int
    positions: int | None = None
    placing: str = "learned"
    norm: str = "pre"
    causal: bool = False
    embedding_norm: bool = False
    token_types: int = 0
    padding: int | None = None
    pooling: str | None = None
    end_id: int = 2
    head_width: int | None = None

    @nn.compact
    def __call__(
        self,
        input_ids: Int[Array, "B L"],
        attention_mask: Shaped[Array, "B L"] | None = None,
        token_type_ids: Int[Array, "B L"] | None = None,
        position_ids: Int[Array, "b L"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """Raises UserError for a text longer than the positions, and ids that are in no table."""
        sizes, name = (self.vocabulary_size, self.width), "input_ids"
        x = WordEmbedding(*sizes, dtype=self.dtype, input_name=name, name="words")(input_ids)
        x, angles = self._placed(x, input_ids, position_ids)
        if self.token_types:
            shape = (self.token_types, self.width)
            table = self.param("token_types", nn.initializers.normal(0.02), shape, jnp.float32)
            table = table.astype(x.dtype)
            given = token_type_ids is not None
            x = x + (rows_of(table, token_type_ids, "token_type_ids") if given else table[0])
        if self.embedding_norm:
            x = LayerNorm(self.epsilon, name="embedding_norm")(x).astype(self.dtype)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        mask, given = as_mask(attention_mask), {"angles": angles, "deterministic": deterministic}
        x, states = self.blocks().with_states(x, mask, **given)
        pooled = None
        if self.pooling is not None:
            pooled = choose(POOLINGS, self.pooling, "pooling")(self, x, input_ids)
        return Features(x, pooled, states).named(output_hidden_states)

    def _placed(
        self, x: Float[Array, "B L D"], ids: Array, places: Array | None
    ) -> tuple[Float[Array, "B L D"], Array | None]:
        """Words that know their places, and angles of rotary ones."""
        if self.placing != "learned" or self.positions == 0:
            return place(x, self.placing if self.positions != 0 else "none", self.heads)
        if self.positions is not None:
            longest = self.positions - (0 if self.padding is None else self.padding + 1)
            if ids.shape[1] > longest:
                raise UserError(
                    f"input_ids: {ids.shape[1]} words, but the model takes {longest}: truncate the"
                    " texts to them"
                )
        if places is None and self.padding is not None:
            places = places_of(ids, self.padding)
        return LearnedPositions(self.positions, name="positions")(x, places), None
