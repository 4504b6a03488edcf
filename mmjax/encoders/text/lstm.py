"""Recurrent text encoder."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from mmjax.encoders.text.words import real_words
from mmjax.nn.embedding import WordEmbedding
from mmjax.nn.masking import zero_masked
from mmjax.nn.options import choose
from mmjax.nn.recurrent import Lstm
from mmjax.types import Tokens

# From all hidden states, the last one and the mask: the tokens and their mask.
OUTPUTS: Mapping[str, Callable[[Array, Array, Array], tuple[Array, Array]]] = {
    "last": lambda _, last, mask: (last[:, None], jnp.any(mask, axis=1, keepdims=True)),
    "sequence": lambda hidden, _, mask: (hidden, mask),
}


class TextLstm(nn.Module):
    """Word ids [B L] -> the hidden state after each word, or after the last one.

    Attributes:
        width: D of the tokens and of the word embeddings.
        vocabulary_size: V, number of word ids.
        layers: number of LSTM layers.
        output: "sequence" (a token a word) or "last" (one token).
        dropout: share dropped of the word embeddings and of each layer's output.
        dtype: type of the matrix products; the recurrent state is in float32.
    """

    width: int
    vocabulary_size: int = 1000
    layers: int = 1
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
            UserError: not integer ids, or an unknown output.
        """
        mask = real_words(value, mask)
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        # Gates do not normalise what they read: small vectors would be slow to matter.
        init = nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
        words = WordEmbedding(self.vocabulary_size, self.width, init, self.dtype, name="words")
        hidden = words(value, mask)
        last = hidden[:, -1]
        for layer in range(self.layers):
            hidden, last = Lstm(self.width, self.dtype, name=f"lstm_{layer}")(drop(hidden), mask)
        x, tokens = choose(OUTPUTS, self.output, "output")(hidden, last, mask)
        return Tokens(zero_masked(drop(x), tokens), tokens)
