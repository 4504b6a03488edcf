"""Fusions by a Tucker decomposition."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.bilinear.low_rank import RankProducts
from mmjax.fusion.bilinear.multilinear import MultilinearForm
from mmjax.fusion.bilinear.products import one_token
from mmjax.fusion.pooling.projected import modality_means, project_each
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation
from mmjax.types import Fused, Tokens


class MutanFusion(nn.Module):
    """O z + o, with z = sum_r prod_i (M_ir x_i + m_ir) and x_i = activation(P_i mean_i + p_i).

    MUTAN (Ben-younes et al. 2017, https://arxiv.org/abs/1705.06676): a Tucker decomposition of the
    tensor of all interactions, whose core has slices of rank at most `rank`. The product is over
    the present modalities, any number of them; with none, the result is o.

    Without the rank constraint, z = c + sum_i u_i x_i + sum_{i < j} x_i^T C_ij x_j: one full core
    for each pair of modalities. For two it is the paper's Tucker fusion with linear terms, which
    let one modality alone through.

    Attributes:
        width: D of the result. The modalities may have other widths.
        factor_width: t of x_i and of z.
        rank: of the core's slices. None: full cores, t^3 parameters for each pair.
        activation: of x_i, a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dropout: share dropped of each modality's mean.
        dtype: type of the computation.
    """

    width: int
    factor_width: int = 64
    rank: int | None = 5
    activation: str = "tanh"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, deterministic: bool = True) -> Fused:
        """Returns the projected interactions [B D], also as the one token.

        Raises:
            UserError: no modality, different batch sizes, or an unknown activation.
        """
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        means, mask = modality_means(tokens, "mutan", drop)
        act = activation(self.activation)
        x = project_each(means, mask, self.factor_width, act, self.dtype)
        vectors = dict(zip(means, jnp.unstack(x, axis=1), strict=True))
        if self.rank is None:
            core = MultilinearForm(self.factor_width, order=2, dtype=self.dtype, name="core")
            z = core(vectors)
        else:
            core = RankProducts(self.factor_width, self.rank, self.dtype, name="core")
            z = jnp.sum(core(vectors, mask), axis=1)
        z = zero_masked(z, jnp.any(mask, axis=1))
        return one_token(Dense(self.width, dtype=self.dtype, name="out")(z), mask)
