"""Recurrent encoders of time series: LSTM (Hochreiter & Schmidhuber 1997,
https://doi.org/10.1162/neco.1997.9.8.1735) and GRU (Cho et al. 2014,
https://arxiv.org/abs/1406.1078)."""

import flax.linen as nn
from jaxtyping import Array

from mmjax.encoders.encoder import RecurrentEncoder
from mmjax.encoders.vector.features import FeatureEncoder
from mmjax.types import Tokens


class SeriesRecurrent(RecurrentEncoder, FeatureEncoder):
    """float32 series [B T F] -> the hidden state after each step, or after the last one."""

    @nn.compact
    def encode(self, x: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B T D], or [B 1 D] for "last"."""
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        return self.states(x, mask, drop, deterministic)
