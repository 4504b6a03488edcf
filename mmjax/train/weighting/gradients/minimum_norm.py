"""Aggregators that look for the best direction for the worst-off task: MGDA and CAGrad."""

import jax.numpy as jnp
import optax

from mmjax.train.weighting.gradients import solvers
from mmjax.train.weighting.gradients.gram import (
    Gram,
    Weights,
    by_gram,
    normalized,
    present,
    stateless,
)

EXCLUDED = 10.0  # a slope that no task with a gradient has where the trace is 1


def mgda() -> optax.GradientTransformation:
    """MGDA: the shortest convex combination of the gradients, which lets no loss rise.

    It is 0 exactly at Pareto-stationary points. Désidéri 2012
    (https://doi.org/10.1016/j.crma.2012.03.014); Sener & Koltun 2018
    (https://arxiv.org/abs/1810.04650), whose upper bound MGDA-UB it is if `features` are given (see
    `by_gram`). A task whose gradient is 0 is left out: it would stop all others.
    """
    return by_gram(stateless(mgda_weights))


def mgda_weights(products: Gram) -> Weights:
    """Weights [tasks] on the simplex of the convex combination with the least norm."""
    there = present(products)
    products, _ = normalized(products)
    weights = solvers.least_norm(products, jnp.where(there, 0.0, EXCLUDED))
    weights = jnp.where(there, weights, 0.0)
    return weights / jnp.where(there.any(), weights.sum(), 1.0)


def cagrad(*, c: float = 0.4) -> optax.GradientTransformation:
    """CAGrad: the direction near the mean gradient that is the best for the worst-off task.

    It maximises min_i <g_i, d> over ||d - g|| <= c ||g||, g the mean. Liu et al. 2021
    (https://arxiv.org/abs/2110.14048). The update is not rescaled. A task whose gradient is 0
    counts in the mean, and is nobody's worst.

    Args:
        c: 0 is the mean; towards 1 it is more and more like MGDA, and from 1 on no longer sure to
            lower the mean loss.

    Raises:
        ValueError: c is negative.
    """
    if c < 0:
        raise ValueError(f"c={c} must be 0 or more")
    return by_gram(stateless(lambda products: cagrad_weights(products, c)))


STATIONARY = 1e-4  # a norm of float32 rounding, where the gradients' squares sum to 1


def cagrad_weights(products: Gram, c: float) -> Weights:
    """Weights [tasks] of the direction; 0 where some convex combination of gradients is 0."""
    there = present(products)
    products, _ = normalized(products)
    n = len(products)
    linear = products.mean(axis=1) + jnp.where(there, 0.0, EXCLUDED)
    radius = c * jnp.sqrt(jnp.maximum(products.mean(), 0.0))

    def derivatives(w: Weights) -> tuple[Weights, Gram]:
        inside = products @ w
        norm = jnp.sqrt(jnp.maximum(w @ inside, 0.0) + 1e-12)
        hessian = (products - jnp.outer(inside, inside) / norm**2) / norm
        return linear + radius * inside / norm, radius * hessian

    worst = solvers.simplex(derivatives, n)
    worst = jnp.where(there, worst, 0.0)
    worst = worst / jnp.where(there.any(), worst.sum(), 1.0)
    norm = jnp.sqrt(jnp.maximum(worst @ products @ worst, 0.0))
    moving = norm >= STATIONARY
    weights = 1 / n + radius / jnp.where(moving, norm, 1.0) * worst
    return jnp.where(moving, weights, 0.0)
