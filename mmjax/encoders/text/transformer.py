"""Bidirectional transformer over words."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from mmjax.encoders.text.words import real_words
from mmjax.nn.embedding import LearnedPositions, WordEmbedding
from mmjax.nn.masking import zero_masked
from mmjax.nn.transformer import Transformer
from mmjax.types import Tokens


class TextTransformer(nn.Module):
    """Word ids [B L] -> one token for each word.

    Attributes:
        width: D of the tokens.
        vocabulary_size: V, number of word ids.
        layers, heads, mlp_ratio, dropout: of the transformer.
        dtype: type of the computation; norms and softmax are in float32.
    """

    width: int
    vocabulary_size: int = 1000
    layers: int = 2
    heads: int = 4
    mlp_ratio: float | int = 4
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        value: Shaped[Array, "B L"],
        mask: Bool[Array, "B L"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Word ids [B L] and which words are real -> Tokens [B L D].

        Raises:
            UserError: not integer ids, or a longer text than at initialisation.
        """
        mask = real_words(value, mask)
        x = WordEmbedding(self.vocabulary_size, self.width, dtype=self.dtype, name="words")(
            value, mask
        )
        x = LearnedPositions(name="positions")(x)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Transformer(
            self.layers, self.heads, self.mlp_ratio, self.dropout, self.dtype, name="transformer"
        )(x, mask, deterministic=deterministic)
        return Tokens(zero_masked(x, mask), mask)
