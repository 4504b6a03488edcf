"""Bag of words: which words a text has, in no order."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from mmjax.encoders.encoder import as_tokens
from mmjax.encoders.text.words import TextEncoder
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.embedding import WordEmbedding
from mmjax.nn.layers.options import activation, choose, initialiser
from mmjax.types import Tokens


def first_occurrences(ids: Int[Array, "B L"], mask: Bool[Array, "B L"]) -> Bool[Array, "B L"]:
    """True for the real words that no real word before them in the text equals."""
    places = jnp.arange(ids.shape[1])
    same = ids[:, :, None] == ids[:, None, :]
    before = places[None, :] < places[:, None]
    return mask & ~jnp.any(same & before & mask[:, None, :], axis=2)


# Which words are summed.
BAGS: Mapping[str, Callable[[Array, Array], Array]] = {
    "binary": first_occurrences,
    "counts": lambda _, mask: mask,
}


class BagOfWords(TextEncoder):
    """Word ids [B L] -> one token: dense layers over a multi-hot vector [V] of the words.

    The first layer is computed as a sum of its kernel's rows, so no [B V] array is made. The
    published easy-VQA text network is `BagOfWords(32, V)`.

    Attributes:
        width: D of the token and of the hidden layers.
        layers: number of dense layers, the one over the bag included.
        bag: "binary" (1 for a word that occurs) or "counts" (how often it occurs).
        activation: activation after each layer.
        kernel_init: initialiser of all kernels, a name in `mmjax.nn.layers.options.INITIALISERS`.
        dropout: share dropped of each layer's output but the last.
    """

    layers: int = 2
    bag: str = "binary"
    activation: str = "tanh"
    kernel_init: str = "lecun_normal"

    @nn.compact
    def encode(self, value: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B 1 D], real if any word is."""
        counted = choose(BAGS, self.bag, "bag")(value, mask)
        act = activation(self.activation)
        init = initialiser(self.kernel_init)
        rows = WordEmbedding(self.vocabulary_size, self.width, init, self.dtype, name="words")
        bias = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
        total = jnp.sum(rows(value, counted), axis=1, dtype=jnp.float32)
        x = act((total + bias).astype(self.dtype))
        for layer in range(1, self.layers):
            x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
            dense = Dense(self.width, dtype=self.dtype, kernel_init=init, name=f"dense_{layer}")
            x = act(dense(x))
        return as_tokens(x[:, None], mask)
