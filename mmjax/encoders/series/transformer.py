"""Transformer over patches of a time series (PatchTST, Nie et al. 2023,
https://arxiv.org/abs/2211.14730)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from mmjax.encoders.series.mlp import OUTPUTS
from mmjax.encoders.series.steps import fold_steps, real_steps
from mmjax.encoders.vector.features import Constant
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.positions import place
from mmjax.nn.layers.transformer import Transformer
from mmjax.types import Tokens


class SeriesTransformer(nn.Module):
    """float32 series [B T F] -> a token for each patch of steps: transformer(dense(patches)).

    A patch holds all features of its steps (PatchTST runs over each feature alone, with
    overlapping patches). It is real if any of its steps is; its masked steps are zeros.

    Attributes:
        width: D of the tokens.
        patch: number of steps in a patch.
        layers, heads, mlp_ratio, dropout, remat: of the transformer.
        positions: "learned", "sincos", "rotary" or "none"; see `mmjax.nn.layers.positions.place`.
        output: "sequence" (a token a patch) or "mean" (one token).
        feature_mean, feature_std: of the data, a number or one for each feature; what the features
            are normalised by.
        dtype: type of the computation; norms and softmax are in float32.
    """

    width: int
    patch: int = 8
    layers: int = 2
    heads: int = 4
    mlp_ratio: float | int = 4
    positions: str = "learned"
    output: str = "sequence"
    feature_mean: Constant = 0.0
    feature_std: Constant = 1.0
    dropout: float = 0.0
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        value: Shaped[Array, "B T F"],
        mask: Bool[Array, "B T"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Series [B T F] and which steps are real -> Tokens [B N D], N = ceil(T / patch), or N = 1.

        Raises:
            UserError: not float32, constants that do not fit, an unknown option, or a longer series
                than learned positions were made for at initialisation.
        """
        choose_output = choose(OUTPUTS, self.output, "output")
        x, mask = real_steps(value, mask, self.feature_mean, self.feature_std)
        x, mask = fold_steps(x, mask, self.patch)
        x = Dense(self.width, dtype=self.dtype, name="patches")(x)
        x, angles = place(x, self.positions, self.heads)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Transformer(
            self.layers,
            self.heads,
            self.mlp_ratio,
            self.dropout,
            self.dtype,
            remat=self.remat,
            name="transformer",
        )(x, mask, angles=angles, deterministic=deterministic)
        x = choose_output(x, mask)
        tokens = mask if self.output == "sequence" else jnp.any(mask, axis=1, keepdims=True)
        return Tokens(zero_masked(x, tokens), tokens)
