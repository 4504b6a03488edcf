"""Convolutional text encoder (Kim 2014, https://arxiv.org/abs/1408.5882)."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.encoders.encoder import READOUTS, as_tokens
from mmjax.encoders.text.words import TextEncoder
from mmjax.errors import UserError
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.embedding import WordEmbedding
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation, choose
from mmjax.types import Tokens


def max_over_real(x: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B 1 D"]:
    """The largest value of each channel over the real tokens; zeros for a row that has none."""
    largest = jnp.max(jnp.where(mask[..., None], x, -jnp.inf), axis=1, keepdims=True)
    return zero_masked(largest, jnp.any(mask, axis=1, keepdims=True))


# From what the convolutions give at each word, and the mask: the tokens that come out.
OUTPUTS: Mapping[str, Callable[[Array, Array], Array]] = {
    "max": max_over_real,
    "sequence": READOUTS["sequence"],
}


class TextCnn(TextEncoder):
    """Word ids [B L] -> dense(max over words of activation(convolutions of several widths)).

    A window is centred at a real word (one of an even size has its longer half behind), and reads
    zeros at masked places and beyond the ends.

    Attributes:
        width: D of the tokens and of the word embeddings.
        kernel_sizes: number of words under each convolution's window.
        channels: of each convolution.
        activation: after the convolutions.
        output: "max" (one token: the maximum over the text) or "sequence" (a token a word).
        dropout: share dropped of what enters the last dense layer.
        dtype: type of the computation.
    """

    kernel_sizes: tuple[int, ...] = (3, 4, 5)
    channels: int = 100
    activation: str = "relu"
    output: str = "max"

    @nn.compact
    def encode(self, value: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B 1 D], or [B L D] for "sequence".

        Raises:
            UserError: no convolution.
        """
        if not self.kernel_sizes or min(self.kernel_sizes) < 1:
            raise UserError(f"text cnn: kernel_sizes {self.kernel_sizes}: give sizes of at least 1")
        choose_output = choose(OUTPUTS, self.output, "output")
        # Nothing normalises the convolutions: small vectors would be slow to matter.
        init = nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
        words = WordEmbedding(self.vocabulary_size, self.width, init, self.dtype, name="words")
        x = words(value, mask)
        # On CPU this takes two thirds of the time of matrix products over unfolded windows.
        x = jnp.concatenate(
            [
                nn.Conv(self.channels, (size,), dtype=self.dtype, name=f"convolution_{place}")(x)
                for place, size in enumerate(self.kernel_sizes)
            ],
            axis=-1,
        )
        x = choose_output(activation(self.activation)(x), mask)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        return as_tokens(x, mask)
