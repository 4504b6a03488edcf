"""Dense layers over a vector of features."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from mmjax.encoders.vector.features import Constant, standardise
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation
from mmjax.types import Tokens


class VectorMlp(nn.Module):
    """float32 features [B F] -> one token: dense layers over [features, which are missing].

    A missing feature is zero, and one further input of the first layer says that it is missing.

    Attributes:
        width: D of the token.
        hidden: widths of the layers before the last one.
        activation: after each layer but the last.
        feature_mean, feature_std: of the data, a number or one for each feature; what the features
            are normalised by.
        dropout: share dropped of what each layer but the first reads.
        dtype: type of the computation.
    """

    width: int
    hidden: tuple[int, ...] = (128,)
    activation: str = "gelu"
    feature_mean: Constant = 0.0
    feature_std: Constant = 1.0
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        value: Shaped[Array, "B F"],
        mask: Bool[Array, "B F"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Features [B F] and which are there -> Tokens [B 1 D], real if any feature is there.

        Raises:
            UserError: not float32, or constants that do not fit.
        """
        mask = jnp.ones(value.shape, bool) if mask is None else mask
        x = standardise(value, self.feature_mean, self.feature_std)
        x = jnp.concatenate([jnp.where(mask, x, 0.0), ~mask], axis=1)
        act = activation(self.activation)
        for layer, width in enumerate(self.hidden):
            x = act(Dense(width, dtype=self.dtype, name=f"dense_{layer}")(x))
            x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        token = jnp.any(mask, axis=1, keepdims=True)
        return Tokens(zero_masked(x[:, None], token), token)
