"""Dense layers over a vector of features."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.encoders.encoder import as_tokens
from mmjax.encoders.vector.features import FeatureEncoder
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.options import activation
from mmjax.types import Tokens


class VectorMlp(FeatureEncoder):
    """float32 features [B F] -> one token: dense layers over [features, which are missing].

    A missing feature is zero, and one further input of the first layer says that it is missing.

    Attributes:
        hidden: widths of the layers before the last one.
        activation: after each layer but the last.
        dropout: share dropped of what each layer but the first reads.
    """

    hidden: tuple[int, ...] = (128,)
    activation: str = "gelu"

    @nn.compact
    def encode(self, x: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B 1 D], real if any feature is there."""
        x = jnp.concatenate([x, ~mask], axis=1)
        x = hidden_layers(self, x, deterministic)
        x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        return as_tokens(x[:, None], mask)


def hidden_layers(encoder: nn.Module, x: Array, deterministic: bool) -> Array:
    """The dense layers `hidden` of an encoder, each followed by its activation and dropout."""
    act = activation(encoder.activation)
    for layer, width in enumerate(encoder.hidden):
        x = act(Dense(width, dtype=encoder.dtype, name=f"dense_{layer}")(x))
        x = nn.Dropout(encoder.dropout, deterministic=deterministic)(x)
    return x
