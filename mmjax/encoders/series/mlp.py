"""Dense layers over each step of a time series."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from mmjax.encoders.series.steps import real_steps
from mmjax.encoders.vector.features import Constant
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation, choose
from mmjax.nn.layers.pooling import masked_mean
from mmjax.types import Tokens

# From the tokens of all steps and the mask: the tokens that come out.
OUTPUTS: Mapping[str, Callable[[Array, Array], Array]] = {
    "mean": lambda x, mask: masked_mean(x, mask)[:, None],
    "sequence": lambda x, _: x,
}


class SeriesMlp(nn.Module):
    """float32 series [B T F] -> a token for each step, or their mean: dense layers over each step.

    Attributes:
        width: D of the tokens.
        hidden: widths of the layers before the last one.
        activation: after each layer but the last.
        output: "sequence" (a token a step) or "mean" (one token).
        feature_mean, feature_std: of the data, a number or one for each feature; what the features
            are normalised by.
        dropout: share dropped of what each layer but the first reads.
        dtype: type of the computation.
    """

    width: int
    hidden: tuple[int, ...] = (128,)
    activation: str = "gelu"
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
        """Series [B T F] and which steps are real -> Tokens [B T D], or [B 1 D] for "mean".

        Raises:
            UserError: not float32, constants that do not fit, or an unknown option.
        """
        choose_output = choose(OUTPUTS, self.output, "output")
        x, mask = real_steps(value, mask, self.feature_mean, self.feature_std)
        act = activation(self.activation)
        for layer, width in enumerate(self.hidden):
            x = act(Dense(width, dtype=self.dtype, name=f"dense_{layer}")(x))
            x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = choose_output(Dense(self.width, dtype=self.dtype, name="projection")(x), mask)
        tokens = mask if self.output == "sequence" else jnp.any(mask, axis=1, keepdims=True)
        return Tokens(zero_masked(x, tokens), tokens)
