"""Low-rank multimodal fusion."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.fusion.bilinear.products import one_token, product_of_present
from mmjax.fusion.pooling.projected import MeansFusion
from mmjax.nn.layers.dense import Dense
from mmjax.types import Fused, Tokens


class RankProducts(nn.Module):
    """For each rank r, the product over the present vectors of F_r [x; 1]. An absent one is one.

    Attributes:
        features: size of the output.
        rank: number of products.
        dtype: type of the computation and of the output; parameters are float32.
    """

    features: int
    rank: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, vectors: Mapping[str, Float[Array, "B _"]], mask: Bool[Array, "B M"]
    ) -> Float[Array, "B {self.rank} {self.features}"]:
        """Vectors by sorted name, and which are present -> [B rank features]."""
        # The last row of a factor, which multiplies the 1, is the bias of a dense layer.
        factors = [
            Dense(self.rank * self.features, dtype=self.dtype, name=f"factor_{name}")(x)
            for name, x in vectors.items()
        ]
        product = product_of_present(factors, mask)
        return product.reshape(-1, self.rank, self.features)


class LowRankFusion(MeansFusion):
    """b + sum_r w_r prod_i F_ir [mean_i; 1], the product over the present modalities.

    Low-rank Multimodal Fusion (Liu et al. 2018, https://arxiv.org/abs/1806.00064): a linear map of
    the outer product of all [mean_i; 1] whose tensor has rank `rank`, at a cost linear in the
    number of modalities. The paper's [0; 1] for an absent modality would leave its factor's last
    row in the product, and a model could not run without that modality's parameters; here its
    factor is exactly one. With none present, the result is b.

    Attributes:
        rank: of the tensor.
    """

    rank: int = 4

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the weighted sum of the products [B D], also as the one token."""
        means, mask = self.means(tokens, deterministic)
        products = RankProducts(self.width, self.rank, self.dtype, name="products")(means, mask)
        init = nn.initializers.normal(self.rank**-0.5)
        weights = self.param("rank_weights", init, (self.rank,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
        total = jnp.sum(products.astype(jnp.float32) * weights[:, None], axis=1)
        any_present = jnp.any(mask, axis=1, keepdims=True)
        pooled = jnp.where(any_present, total, 0.0) + bias
        return one_token(pooled.astype(self.dtype), mask)
