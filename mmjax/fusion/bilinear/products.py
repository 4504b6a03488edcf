"""What fusions by products have in common."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.nn.layers.masking import zero_masked
from mmjax.types import Fused, Tokens

ROOT_OFFSET = 1e-8  # bounds the slope of the signed root at zero by 5000, for an error of 1e-4
SMALLEST_NORM = 1e-6  # shorter vectors are divided by this


def product_of_present(
    factors: Sequence[Shaped[Array, "B ..."]], mask: Bool[Array, "B M"]
) -> Shaped[Array, "B ..."]:
    """The product of M factors; an absent one is one, whatever it holds. None present: ones."""

    def neutral(factor, present):
        present = present.reshape(-1, *(1,) * (factor.ndim - 1))
        return jnp.where(present, factor, jnp.ones((), factor.dtype))

    columns = jnp.unstack(mask, axis=1)
    kept = [neutral(*pair) for pair in zip(factors, columns, strict=True)]
    return functools.reduce(jnp.multiply, kept)


def signed_root(x: Float[Array, "*rows"]) -> Float[Array, "*rows"]:
    """sign(x) (sqrt(|x| + e) - sqrt(e)) with e = ROOT_OFFSET, in float32.

    The signed square root, but for a slope that stays finite at zero.
    """
    x = x.astype(jnp.float32)
    return x / (jnp.sqrt(jnp.abs(x) + ROOT_OFFSET) + ROOT_OFFSET**0.5)


def unit_norm(x: Float[Array, "*rows D"]) -> Float[Array, "*rows D"]:
    """Each vector divided by its Euclidean norm, in float32; zeros stay zeros."""
    x = x.astype(jnp.float32)
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, SMALLEST_NORM**2))


def one_token(pooled: Float[Array, "B D"], mask: Bool[Array, "B M"]) -> Fused:
    """The fused vector, also as the one token of its example: real where any modality is."""
    present = jnp.any(mask, axis=1, keepdims=True)
    return Fused(Tokens(zero_masked(pooled[:, None], present), present), pooled)
