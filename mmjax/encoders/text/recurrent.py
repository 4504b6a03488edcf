"""Recurrent text encoders: LSTM (Hochreiter & Schmidhuber 1997,
https://doi.org/10.1162/neco.1997.9.8.1735) and GRU (Cho et al. 2014,
https://arxiv.org/abs/1406.1078)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from mmjax.encoders.text.words import real_words
from mmjax.nn.layers.embedding import WordEmbedding
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.recurrent import OUTPUTS, Recurrent
from mmjax.types import Tokens


class TextRecurrent(nn.Module):
    """Word ids [B L] -> the hidden state after each word, or after the last one.

    Attributes:
        width: D of the tokens and of the word embeddings.
        vocabulary_size: V, number of word ids.
        cell: "lstm" or "gru".
        layers: number of recurrent layers.
        bidirectional: whether half of the width reads the text from its end.
        output: "sequence" (a token a word) or "last" (one token; the backward half has read the
            text down to its first word).
        dropout: share dropped of the word embeddings and of each layer's output.
        dtype: type of the matrix products; the recurrent state is in float32.
    """

    width: int
    vocabulary_size: int = 1000
    cell: str = "lstm"
    layers: int = 1
    bidirectional: bool = False
    output: str = "sequence"
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
        """Word ids [B L] and which words are real -> Tokens [B L D], or [B 1 D] for "last".

        Raises:
            UserError: not integer ids, an unknown option, or an odd width for two directions.
        """
        mask = real_words(value, mask)
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        # Gates do not normalise what they read: small vectors would be slow to matter.
        init = nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
        words = WordEmbedding(self.vocabulary_size, self.width, init, self.dtype, name="words")
        layers = Recurrent(
            self.width,
            self.cell,
            self.layers,
            self.bidirectional,
            self.dropout,
            self.dtype,
            name="recurrent",
        )
        hidden, last = layers(drop(words(value, mask)), mask, deterministic=deterministic)
        x, tokens = choose(OUTPUTS, self.output, "output")(hidden, last, mask)
        return Tokens(zero_masked(drop(x), tokens), tokens)
