"""Dense layers over each step of a time series."""

import flax.linen as nn
from jaxtyping import Array

from mmjax.encoders.encoder import READOUTS, as_tokens
from mmjax.encoders.vector.features import FeatureEncoder
from mmjax.encoders.vector.mlp import hidden_layers
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.options import choose
from mmjax.types import Tokens


class SeriesMlp(FeatureEncoder):
    """float32 series [B T F] -> a token for each step, or their mean: dense layers over each step.

    Attributes:
        hidden: widths of the layers before the last one.
        activation: after each layer but the last.
        output: "sequence" (a token a step) or "mean" (one token).
        dropout: share dropped of what each layer but the first reads.
    """

    hidden: tuple[int, ...] = (128,)
    activation: str = "gelu"
    output: str = "sequence"

    @nn.compact
    def encode(self, x: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B T D], or [B 1 D] for "mean"."""
        choose_output = choose(READOUTS, self.output, "output")
        x = hidden_layers(self, x, deterministic)
        x = choose_output(Dense(self.width, dtype=self.dtype, name="projection")(x), mask)
        return as_tokens(x, mask)
