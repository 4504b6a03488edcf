"""Text transformers as published: BERT, RoBERTa, and the text halves of CLIP and SigLIP."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from mmjax.backbones.stack import as_mask, with_states
from mmjax.errors import UserError
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.ids import rows_of
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.transformer import Transformer


def places_of(ids: Int[Array, "B L"], padding: int | None) -> Int[Array, "b L"]:
    """The position of each word: from 0 on; with the id of a padding, from padding + 1 on and
    counting what is not padding, as in RoBERTa.

    With padding=1, [[5, 6, 1, 7]] -> [[2, 3, 1, 4]].
    """
    if padding is None:
        return jnp.arange(ids.shape[1])[None]
    real = ids != padding
    return jnp.cumsum(real, axis=1) * real + padding


def _at(x: Array, place: Array) -> Array:
    return jnp.take_along_axis(x, place[:, None, None], axis=1)[:, 0]


def _end(tower: "TextTower", x: Array, ids: Array) -> Array:
    # Checkpoints of CLIP with the id 2 are older than the rule; theirs is the highest of all ids.
    ends = ids if tower.end_id == 2 else ids == tower.end_id
    return _at(x, jnp.argmax(ends, axis=1))


def _last(tower: "TextTower", x: Array, _: Array) -> Array:
    return Dense(tower.head_width or tower.width, dtype=tower.dtype, name="head")(x[:, -1])


def _tanh(tower: "TextTower", x: Array, _: Array) -> Array:
    return jnp.tanh(Dense(tower.width, dtype=tower.dtype, name="pooler")(x[:, 0]))


# From the tower, its last tokens and the word ids: the pooled vector.
POOLINGS: Mapping[str, Callable[["TextTower", Array, Array], Array]] = {
    "end": _end,
    "equal": lambda tower, x, ids: _at(x, jnp.argmax(ids == tower.end_id, axis=1)),
    "final": lambda _, x, __: x[:, -1],
    "first": lambda _, x, __: x[:, 0],
    "highest": lambda _, x, ids: _at(x, jnp.argmax(ids, axis=1)),
    "last": _last,
    "tanh": _tanh,
}


class TextTower(nn.Module):
    """input_ids [B L] -> last_hidden_state [B L D], pooler_output [B D].

    Attributes:
        width, layers, heads, mlp_width: of the transformer.
        vocabulary_size: number of word ids.
        positions: number of learned positions.
        activation, epsilon, norm, causal: of the blocks.
        embedding_norm: whether the embeddings pass a norm before the first block.
        closing_norm: whether a norm follows the last one.
        token_types: number of kinds of words; 0: none are told apart.
        padding: the id that positions do not count. None: they count all.
        pooling: at the first place of `end_id` "equal" or, where that is 2, of the highest id as
            "end" (CLIP's rule); of the "highest" id; at the "first" or "final" place; "last" (a
            dense layer at the last place), "tanh" (one at the first). None: no pooler_output.
        end_id: of the word that ends a text.
        head_width: of the dense layer of "last". None: D.
        dropout: share dropped in training, of the input and in the blocks.
        dtype: type of the computation.
        scan: whether the parameters of the blocks are stacked.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    vocabulary_size: int
    positions: int
    activation: str = "gelu_exact"
    epsilon: float = 1e-5
    norm: str = "pre"
    causal: bool = False
    embedding_norm: bool = False
    closing_norm: bool = True
    token_types: int = 0
    padding: int | None = None
    pooling: str | None = None
    end_id: int = 2
    head_width: int | None = None
    dropout: float = 0.0
    dtype: Any = jnp.float32
    scan: bool = False

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
        x = self.embed(input_ids, token_type_ids, position_ids)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        _, states = Transformer(
            self.layers,
            self.heads,
            mlp_width=self.mlp_width,
            activation=self.activation,
            epsilon=self.epsilon,
            norm=self.norm,
            causal=self.causal,
            dropout=self.dropout,
            dtype=self.dtype,
            scan=self.scan,
            final_norm=False,
            name="blocks",
        ).with_states(x, as_mask(attention_mask), deterministic=deterministic)
        x = states[-1]
        if self.closing_norm:
            x = LayerNorm(self.epsilon, name="norm")(x).astype(self.dtype)
        outputs = {"last_hidden_state": x}
        if self.pooling is not None:
            pool = choose(POOLINGS, self.pooling, "pooling")
            outputs["pooler_output"] = pool(self, x, input_ids)
        return with_states(outputs, states, output_hidden_states)

    def embed(self, ids: Array, types: Array | None, places: Array | None) -> Float[Array, "B L D"]:
        """The tokens that the first block gets."""
        longest = self.positions - (0 if self.padding is None else self.padding + 1)
        if ids.shape[1] > longest:
            raise UserError(
                f"input_ids: {ids.shape[1]} words, but the model takes {longest}: truncate the"
                " texts to them"
            )

        def rows(name: str, count: int, given: Array, option: str) -> Array:
            shape = (count, self.width)
            table = self.param(name, nn.initializers.normal(0.02), shape, jnp.float32)
            return rows_of(table, given, option)

        x = rows("words", self.vocabulary_size, ids, "input_ids")
        if self.positions:
            places = places_of(ids, self.padding) if places is None else places
            x = x + rows("positions", self.positions, places, "position_ids")
        if self.token_types:
            types = jnp.zeros_like(ids) if types is None else types
            x = x + rows("token_types", self.token_types, types, "token_type_ids")
        if self.embedding_norm:
            x = LayerNorm(self.epsilon, name="embedding_norm")(x)
        return x.astype(self.dtype)
