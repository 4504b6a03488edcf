"""Multimodal low-rank bilinear pooling."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.pooling.multiply import MultiplyFusion
from mmjax.fusion.pooling.pooled import check_modalities
from mmjax.nn.layers.dense import Dense
from mmjax.types import Fused, Tokens


class MlbFusion(nn.Module):
    """P (tanh(U mean_1 + b_1) * tanh(V mean_2 + b_2)) + b, for any number of modalities.

    Low-rank bilinear pooling (Kim et al. 2017, https://arxiv.org/abs/1610.04325): each output is
    a bilinear form of rank at most `rank`. It is MultiplyFusion without layer norms, followed by
    the output projection P, which mixes the features of the product and frees the rank from the
    width. An absent modality multiplies by exactly one; with none present, the result is b.

    Attributes:
        width: D of the result. The modalities may have other widths.
        rank: width of the product. None: D.
        activation: of the factors, a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dropout: share dropped of each modality's mean.
        dtype: type of the computation.
    """

    width: int
    rank: int | None = None
    activation: str = "tanh"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, deterministic: bool = True) -> Fused:
        """Returns the projected product [B D], and its factors as tokens.

        `tokens` of the result is [B M rank] by sorted name, masked where a modality is absent.

        Raises:
            UserError: no modality, different batch sizes, or an unknown activation.
        """
        check_modalities(tokens, "mlb")
        product = MultiplyFusion(
            self.width if self.rank is None else self.rank,
            norm=False,
            activation=self.activation,
            dropout=self.dropout,
            dtype=self.dtype,
            name="product",
        )(tokens, deterministic=deterministic)
        pooled = Dense(self.width, dtype=self.dtype, name="out")(product.pooled)
        return Fused(product.tokens, pooled)
