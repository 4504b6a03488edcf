"""Aggregators from games: Nash's bargaining, and fair shares."""

import jax.numpy as jnp
import optax

from mmjax.train.weighting.gradients import solvers
from mmjax.train.weighting.gradients.gram import (
    Gram,
    Weights,
    by_gram,
    cosines,
    present,
    stateless,
)

RIDGE = 1e-6  # on the cosines: opposite gradients would bargain without end


def nash_mtl(*, max_norm: float = 1.0) -> optax.GradientTransformation:
    """Nash-MTL: the direction that maximises the product of all tasks' gains <g_i, d>.

    Its weights solve G w = 1 / w, so that the direction does not depend on the scale of a gradient,
    and the norm is always sqrt(tasks), or max_norm if that is less, however near the end is: the
    learning rate must fall. Navon et al. 2022 (https://arxiv.org/abs/2202.01017), there by a
    sequence of convex problems, here by Newton's method at every step. A task whose gradient is 0
    does not bargain.

    Args:
        max_norm: of the update, 1 in the authors' code; 0 for no limit.
    """

    def weights(products: Gram) -> Weights:
        found = fair_weights(products, 1.0)
        if not max_norm:
            return found
        length = jnp.sqrt(jnp.maximum(found @ products @ found, 0.0))
        return found * jnp.minimum(1.0, max_norm / jnp.where(length == 0, 1.0, length))

    return by_gram(stateless(weights))


def fairgrad(*, alpha: float = 1.0) -> optax.GradientTransformation:
    """FairGrad: the direction that is alpha-fair in the tasks' gains <g_i, d>.

    Its weights solve G w = w^(-1 / alpha): alpha of 1 is Nash-MTL without a limit of the norm, and
    towards infinity all gains are equal. Ban & Ji 2024 (https://arxiv.org/abs/2402.15638). A task
    whose gradient is 0 gets no share.

    Args:
        alpha: above 0.

    Raises:
        ValueError: alpha is not above 0.
    """
    if alpha <= 0:
        raise ValueError(f"alpha={alpha} must be above 0")
    return by_gram(stateless(lambda products: fair_weights(products, 1 / alpha)))


def fair_weights(products: Gram, power: float) -> Weights:
    """The w > 0 with G w = w^-power, over the tasks that have a gradient; 0 for the others."""
    there = present(products)
    angles, norms = cosines(products)
    norms = jnp.where(there, norms, 1.0)
    # With w = x / norms it is C x = norms^(power - 1) x^-power, whose C has a diagonal of 1. Where
    # x = s y and all norms are about u, C y = (norms / u)^(power - 1) y^-power.
    typical = jnp.exp(jnp.where(there, jnp.log(norms), 0.0).sum() / jnp.maximum(there.sum(), 1))
    size = typical ** ((power - 1) / (1 + power))
    goals = (norms / typical) ** (power - 1)
    found = solvers.equal_power(angles + RIDGE * jnp.eye(len(angles)), goals, power)
    return jnp.where(there, size * found / norms, 0.0)
