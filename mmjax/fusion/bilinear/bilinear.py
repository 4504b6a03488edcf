"""Full bilinear pooling."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.bilinear.multilinear import MultilinearForm
from mmjax.fusion.bilinear.products import one_token
from mmjax.fusion.pooling.projected import modality_means, project_each
from mmjax.nn.layers.options import activation
from mmjax.types import Fused, Tokens


class BilinearFusion(nn.Module):
    """b + sum_i u_i x_i + sum_{i < j} x_i^T W_ij x_j, with x_i = activation(P_i mean_i + p_i).

    Bilinear models (Tenenbaum & Freeman 2000, https://doi.org/10.1162/089976600300015349) for any
    number of modalities: one bilinear form for each unordered pair. The linear terms let one
    modality alone through. A term of an absent modality is exactly zero.

    Attributes:
        width: D of the result. The modalities may have other widths.
        factor_width: d of x_i; a pair has d^2 D parameters.
        activation: of x_i, a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dropout: share dropped of each modality's mean.
        dtype: type of the computation.
    """

    width: int
    factor_width: int = 32
    activation: str = "identity"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, deterministic: bool = True) -> Fused:
        """Returns the form's value [B D] (b with no modality present), also as the one token.

        Raises:
            UserError: no modality, different batch sizes, or an unknown activation.
        """
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        means, mask = modality_means(tokens, "bilinear", drop)
        act = activation(self.activation)
        x = project_each(means, mask, self.factor_width, act, self.dtype)
        vectors = dict(zip(means, jnp.unstack(x, axis=1), strict=True))
        pooled = MultilinearForm(self.width, order=2, dtype=self.dtype, name="form")(vectors)
        return one_token(pooled, mask)
