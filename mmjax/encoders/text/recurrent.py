"""Recurrent text encoders: LSTM (Hochreiter & Schmidhuber 1997,
https://doi.org/10.1162/neco.1997.9.8.1735) and GRU (Cho et al. 2014,
https://arxiv.org/abs/1406.1078)."""

import flax.linen as nn
from jaxtyping import Array

from mmjax.encoders.encoder import RecurrentEncoder
from mmjax.encoders.text.words import TextEncoder
from mmjax.nn.layers.embedding import WordEmbedding
from mmjax.types import Tokens


class TextRecurrent(RecurrentEncoder, TextEncoder):
    """Word ids [B L] -> the hidden state after each word, or after the last one.

    Attributes:
        width: D of the tokens and of the word embeddings.
        dropout: share dropped of the word embeddings and of each layer's output.
    """

    @nn.compact
    def encode(self, value: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B L D], or [B 1 D] for "last"."""
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        # Gates do not normalise what they read: small vectors would be slow to matter.
        init = nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
        words = WordEmbedding(self.vocabulary_size, self.width, init, self.dtype, name="words")
        return self.states(drop(words(value, mask)), mask, drop, deterministic)
