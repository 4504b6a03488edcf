"""Recurrent encoders of time series: LSTM (Hochreiter & Schmidhuber 1997,
https://doi.org/10.1162/neco.1997.9.8.1735) and GRU (Cho et al. 2014,
https://arxiv.org/abs/1406.1078)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from mmjax.encoders.series.steps import real_steps
from mmjax.encoders.vector.features import Constant
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.recurrent import OUTPUTS, Recurrent
from mmjax.types import Tokens


class SeriesRecurrent(nn.Module):
    """float32 series [B T F] -> the hidden state after each step, or after the last one.

    Attributes:
        width: D of the tokens.
        cell: "lstm" or "gru".
        layers: number of recurrent layers.
        bidirectional: whether half of the width reads the series from its end.
        output: "sequence" (a token a step) or "last" (one token; the backward half has read the
            series down to its first step).
        feature_mean, feature_std: of the data, a number or one for each feature; what the features
            are normalised by.
        dropout: share dropped of each layer's output.
        dtype: type of the matrix products; the recurrent state is in float32.
    """

    width: int
    cell: str = "lstm"
    layers: int = 1
    bidirectional: bool = False
    output: str = "sequence"
    feature_mean: Constant = 0.0
    feature_std: Constant = 1.0
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        value: Shaped[Array, "B T F"],
        mask: Bool[Array, "B T"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Series [B T F] and which steps are real -> Tokens [B T D], or [B 1 D] for "last".

        Raises:
            UserError: not float32, constants that do not fit, an unknown option, or an odd width
                for two directions.
        """
        x, mask = real_steps(value, mask, self.feature_mean, self.feature_std)
        layers = Recurrent(
            self.width,
            self.cell,
            self.layers,
            self.bidirectional,
            self.dropout,
            self.dtype,
            name="recurrent",
        )
        hidden, last = layers(x, mask, deterministic=deterministic)
        x, tokens = choose(OUTPUTS, self.output, "output")(hidden, last, mask)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        return Tokens(zero_masked(x, tokens), tokens)
