"""Aggregators that project onto the directions that no task objects to: UPGrad and DualProj.

The dual cone of the gradients holds the directions d with <g_i, d> >= 0 for every task i. The
projection of sum_i u_i g_i onto it is sum_i v_i g_i, where v >= u minimises v' G v.
"""

import jax
import jax.numpy as jnp
import optax

from mmjax.train.weighting.gradients import solvers
from mmjax.train.weighting.gradients.gram import Gram, Weights, by_gram, normalized, stateless


def upgrad(*, regularization: float = 1e-6) -> optax.GradientTransformation:
    """UPGrad: the mean of all gradients, each projected onto the dual cone of all.

    It conflicts with no gradient, grows linearly with each of them, and without conflicts is the
    mean. Quinton & Rey 2024 (https://arxiv.org/abs/2406.16232). A gradient of 0 is a 0 in the mean.

    Args:
        regularization: added to the diagonal of the inner products, whose trace is 1, so that
            opposite gradients have a solution.
    """
    return by_gram(stateless(lambda products: upgrad_weights(products, regularization)))


def upgrad_weights(products: Gram, regularization: float) -> Weights:
    """Weights [tasks], the sum of those of each projection."""
    shares = jnp.eye(len(products)) / len(products)
    return jax.vmap(lambda u: projected(products, u, regularization))(shares).sum(axis=0)


def dual_projection(*, regularization: float = 1e-6) -> optax.GradientTransformation:
    """DualProj: the mean gradient, projected onto the dual cone of all.

    Lopez-Paz & Ranzato 2017 (https://arxiv.org/abs/1706.08840) for what is to be remembered; for
    tasks Quinton & Rey 2024 (https://arxiv.org/abs/2406.16232). A gradient of 0 is a 0 in the mean.

    Args:
        regularization: as of upgrad.
    """

    def weights(products: Gram) -> Weights:
        n = len(products)
        return projected(products, jnp.full(n, 1 / n), regularization)

    return by_gram(stateless(weights))


def projected(products: Gram, share: Weights, regularization: float) -> Weights:
    """The v >= u that minimises v' G v, G with trace 1 and `regularization` on its diagonal."""
    products, _ = normalized(products)
    products = products + regularization * jnp.eye(len(share))
    slope = products @ share
    added = solvers.nonnegative(lambda x: (products @ x + slope, products), len(share))
    return share + added
