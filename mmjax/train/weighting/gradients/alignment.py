"""Aggregators that make gradients alike: Aligned-MTL and IMTL-G."""

import jax.numpy as jnp
import optax

from mmjax.train.weighting.gradients.gram import (
    Gram,
    Weights,
    by_gram,
    cosines,
    present,
    stateless,
)

SCALES = ("min", "median", "rmse")


def aligned_mtl(*, scale: str = "min") -> optax.GradientTransformation:
    """Aligned-MTL: the mean of gradients that were made orthogonal and equally long.

    The matrix of gradients is replaced by the nearest one whose singular values are all the same.
    Senushkin et al. 2023 (https://arxiv.org/abs/2305.19000). A gradient of 0 counts in the mean
    with 0, and so does the part of gradients that their number has over their rank.

    Args:
        scale: which singular value all get: min, the smallest that is not 0; median; or rmse, the
            root of the mean square.

    Raises:
        ValueError: another scale.
    """
    if scale not in SCALES:
        raise ValueError(f"scale={scale!r}: choose one of {', '.join(SCALES)}")
    return by_gram(stateless(lambda products: aligned_weights(products, scale)))


def aligned_weights(products: Gram, scale: str) -> Weights:
    """Weights [tasks]: s V diag(1 / s_k) V' 1 / tasks, over singular values s_k that are not 0."""
    n = len(products)
    values, vectors = jnp.linalg.eigh(products)
    tolerance = values[-1] * n * jnp.finfo(values.dtype).eps
    kept = values > tolerance  # they ascend: the last `rank` ones
    rank = kept.sum()
    safe = jnp.where(kept, values, 1.0)
    target = {
        "min": jnp.where(kept, values, jnp.inf).min(),
        "median": values[jnp.minimum(n - rank + (rank - 1) // 2, n - 1)],
        "rmse": jnp.where(kept, values, 0.0).sum() / jnp.maximum(rank, 1),
    }[scale]
    target = jnp.where(rank > 0, target, 1.0)
    inverse = jnp.where(kept, jnp.sqrt(target / safe), 0.0)
    return (vectors * inverse) @ (vectors.T @ jnp.full(n, 1 / n))


def imtl_g() -> optax.GradientTransformation:
    """IMTL-G: the combination that has the same projection onto every gradient's direction.

    Its weights sum to 1 and may be negative. The direction does not depend on the scale of a
    gradient. Liu et al. 2021 (https://openreview.net/forum?id=IMPnRXEWpvr). A task whose gradient
    is 0 is left out. Where there is no such combination, as of opposite gradients, it is 0.
    """
    return by_gram(stateless(imtl_g_weights))


def imtl_g_weights(products: Gram) -> Weights:
    """Weights [tasks]: C^-1 1 / norms, C the cosines, made to sum to 1."""
    angles, norms = cosines(products)
    there = present(products)
    shares = jnp.linalg.pinv(angles, rtol=1e-6, hermitian=True) @ there.astype(jnp.float32)
    shares = jnp.where(there, shares / jnp.where(there, norms, 1.0), 0.0)
    total, size = shares.sum(), jnp.abs(shares).sum()
    solvable = jnp.abs(total) > 1e-6 * size
    return jnp.where(solvable, shares / jnp.where(solvable, total, 1.0), 0.0)
