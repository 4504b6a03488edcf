"""Aggregators that do not look at the gradients."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, UInt32

from mmjax.train.weighting.gradients.gram import Weights, combine, number_of


def mean_of_tasks() -> optax.GradientTransformation:
    """The mean of the gradients: [tasks ...] -> [...]; an absent task counts with 0."""

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda x: jnp.mean(x, axis=0), updates), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def sum_of_tasks() -> optax.GradientTransformation:
    """The sum of the gradients: [tasks ...] -> [...]."""

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda x: jnp.sum(x, axis=0), updates), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def random_gradients(*, seed: int = 0) -> optax.GradientTransformation:
    """RGW: weights drawn anew at every step, a softmax of normal numbers.

    Lin et al. 2022 (https://arxiv.org/abs/2111.10603). An absent task is drawn a weight too.

    Args:
        seed: of the draws; the key is in the state.
    """

    def weights_of(key: UInt32[Array, "2"], tasks: int) -> Weights:
        return jax.nn.softmax(jax.random.normal(key, (tasks,)))

    def update(updates, key, params=None):
        del params
        key, drawn = jax.random.split(key)
        return combine(weights_of(drawn, number_of(updates)), updates), key

    return optax.GradientTransformation(lambda _: jax.random.PRNGKey(seed), update)
