"""Fusion by a block-superdiagonal tensor."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.errors import UserError
from mmjax.fusion.bilinear.factored import FactoredFusion
from mmjax.fusion.bilinear.products import one_token, product_of_present, signed_root, unit_norm
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.types import Fused, Tokens


class Norm(NamedTuple):
    """How [B chunks size] is normalised, and how many vectors of norm one that makes."""

    apply: Callable[[Array], Array]
    unit_vectors: Callable[[int], int]


def _whole(z: Array) -> Array:
    return unit_norm(signed_root(z).reshape(z.shape[0], -1)).reshape(z.shape)


NORMS: Mapping[str, Norm] = {
    "chunk": Norm(lambda z: unit_norm(signed_root(z)), lambda chunks: chunks),
    "none": Norm(lambda z: z, lambda _: 0),
    "whole": Norm(_whole, lambda _: 1),
}


class BlockFusion(FactoredFusion):
    """O [norm(z_1); ...; norm(z_C)] + o, with z_c = sum_r prod_i (A_icr x_ic + a_icr).

    BLOCK (Ben-younes et al. 2019, https://arxiv.org/abs/1902.00038): x_i = activation(P_i mean_i +
    p_i) is cut into C chunks, and only equal chunks of the modalities interact, each by a core of
    rank `rank`, as in MUTAN. The norm is the signed square root followed by division by the
    Euclidean norm. The product is over the present modalities, any number of them; with none, the
    result is o.

    Attributes:
        factor_width: of x_i; the chunks divide it.
        chunks: C. 1 is MUTAN with a norm.
        rank: of the cores' slices.
        norm: "chunk" (each chunk has norm one), "whole" (all chunks together have) or "none".
    """

    factor_width: int = 128
    chunks: int = 4
    rank: int = 4
    norm: str = "chunk"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the projected interactions [B D], also as the one token.

        Raises:
            UserError: an unknown norm or activation, or a factor_width that does not split into the
                chunks.
        """
        means, mask = self.means(tokens, deterministic)
        norm = choose(NORMS, self.norm, "norm")
        if self.chunks < 1 or self.factor_width % self.chunks:
            raise UserError(
                f"block fusion: factor_width {self.factor_width} does not split into {self.chunks}"
                " chunks: choose a number of chunks that divides it"
            )
        size = self.factor_width // self.chunks
        x = self.projected(means, mask, self.factor_width)
        x = x.reshape(*mask.shape, self.chunks, size)
        init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", 1, 2, 0)
        shape = (self.chunks, size, self.rank * size)
        factors = []
        for name, vectors in zip(means, jnp.unstack(x, axis=1), strict=True):
            kernel = self.param(f"core_{name}", init, shape, jnp.float32).astype(self.dtype)
            bias = self.param(
                f"core_bias_{name}", nn.initializers.zeros, (shape[0], shape[2]), jnp.float32
            )
            factor = jnp.einsum("bcs,cso->bco", vectors, kernel) + bias.astype(self.dtype)
            factors.append(factor)
        z = product_of_present(factors, mask)
        z = jnp.sum(z.reshape(-1, self.chunks, self.rank, size), axis=2)
        z = zero_masked(z, jnp.broadcast_to(jnp.any(mask, axis=1)[:, None], z.shape[:2]))
        z = norm.apply(z).reshape(-1, self.factor_width).astype(self.dtype)
        # Entries of vectors of norm one are small: a larger kernel gives outputs of variance one.
        scale = self.factor_width / (norm.unit_vectors(self.chunks) or self.factor_width)
        init = nn.initializers.variance_scaling(scale, "fan_in", "truncated_normal")
        out = Dense(self.width, dtype=self.dtype, kernel_init=init, name="out")
        return one_token(out(z), mask)
