"""Fusions by a Tucker decomposition."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp

from mmjax.fusion.bilinear.factored import FactoredFusion
from mmjax.fusion.bilinear.low_rank import RankProducts
from mmjax.fusion.bilinear.multilinear import MultilinearForm
from mmjax.fusion.bilinear.products import one_token
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.types import Fused, Tokens


class MutanFusion(FactoredFusion):
    """O z + o, with z = sum_r prod_i (M_ir x_i + m_ir) and x_i = activation(P_i mean_i + p_i).

    MUTAN (Ben-younes et al. 2017, https://arxiv.org/abs/1705.06676): a Tucker decomposition of the
    tensor of all interactions, whose core has slices of rank at most `rank`. The product is over
    the present modalities, any number of them; with none, the result is o.

    Without the rank constraint, z = c + sum_i u_i x_i + sum_{i < j} x_i^T C_ij x_j: one full core
    for each pair of modalities. For two it is the paper's Tucker fusion with linear terms, which
    let one modality alone through.

    Attributes:
        factor_width: t of x_i and of z.
        rank: of the core's slices. None: full cores, t^3 parameters for each pair.
    """

    factor_width: int = 64
    rank: int | None = 5
    activation: str = dataclasses.field(default="tanh", kw_only=True)

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the projected interactions [B D], also as the one token."""
        means, mask = self.means(tokens, deterministic)
        vectors = self.factors(means, mask)
        if self.rank is None:
            core = MultilinearForm(self.factor_width, order=2, dtype=self.dtype, name="core")
            z = core(vectors)
        else:
            core = RankProducts(self.factor_width, self.rank, self.dtype, name="core")
            z = jnp.sum(core(vectors, mask), axis=1)
        z = zero_masked(z, jnp.any(mask, axis=1))
        return one_token(Dense(self.width, dtype=self.dtype, name="out")(z), mask)
