"""Multimodal low-rank bilinear pooling."""

from collections.abc import Mapping

from mmjax.fusion.fusion import Fusion
from mmjax.fusion.pooling.multiply import MultiplyFusion
from mmjax.nn.layers.dense import Dense
from mmjax.types import Fused, Tokens


class MlbFusion(Fusion):
    """P (tanh(U mean_1 + b_1) * tanh(V mean_2 + b_2)) + b, for any number of modalities.

    Low-rank bilinear pooling (Kim et al. 2017, https://arxiv.org/abs/1610.04325): each output is
    a bilinear form of rank at most `rank`. It is MultiplyFusion without layer norms, followed by
    the output projection P, which mixes the features of the product and frees the rank from the
    width. An absent modality multiplies by exactly one; with none present, the result is b.

    Attributes:
        rank: width of the product. None: D.
        activation: of the factors, a name in `mmjax.nn.layers.options.ACTIVATIONS`.
    """

    rank: int | None = None
    activation: str = "tanh"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the projected product [B D], and its factors as tokens.

        `tokens` of the result is [B M rank] by sorted name, masked where a modality is absent.
        """
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
