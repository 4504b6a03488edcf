"""Aggregators that balance how long gradients are: GradNorm and DB-MTL."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mmjax.train.weighting.gradients.gram import (
    Gram,
    Weights,
    by_gram,
    combine,
    finite_or_nan,
    gram,
    present,
)


class GradNormState(NamedTuple):
    """The logits of the weights, the state of their Adam, and the first losses (0: none yet)."""

    logits: Float[Array, " tasks"]
    optimizer: optax.OptState
    first: Float[Array, " tasks"]


def gradnorm(
    *, tasks: int, alpha: float = 1.5, learning_rate: float = 0.025
) -> optax.GradientTransformationExtraArgs:
    """GradNorm: learned weights under which slow tasks have longer gradients.

    The weights are T softmax(s) of T tasks. s follows the gradient of
    sum_i | w_i ||g_i|| - mean_j(w_j ||g_j||) r_i^alpha |, the second term a constant, where r_i is
    L_i by its first value, over the mean of that. Chen et al. 2018
    (https://arxiv.org/abs/1711.02257). The update needs `losses` [tasks] by keyword. A task that is
    absent from a batch has no part in it.

    Args:
        tasks: their number.
        alpha: how strongly tasks are pulled to one rate; 0 makes all gradients equally long.
        learning_rate: of the Adam of s.
    """
    optimizer = optax.adam(learning_rate)

    def rule(
        products: Gram, state: GradNormState, losses: Weights | None
    ) -> tuple[Weights, GradNormState]:
        if losses is None:
            raise ValueError("gradnorm needs losses: optimizer.update(..., losses=losses)")
        there = present(products) & (losses != 0)
        count = jnp.maximum(there.sum(), 1)
        first = jnp.where((state.first == 0) & there, losses, state.first)
        rate = jnp.where(there, losses / jnp.where(first == 0, 1.0, first), 0.0)
        mean = rate.sum() / count
        relative = rate / jnp.where(mean == 0, 1.0, mean)
        norms = jnp.sqrt(jnp.diagonal(products))

        def distance(logits: Weights) -> Float[Array, ""]:
            lengths = tasks * jax.nn.softmax(logits) * norms
            goal = jnp.where(there, lengths, 0.0).sum() / count * relative**alpha
            return jnp.where(there, jnp.abs(lengths - jax.lax.stop_gradient(goal)), 0.0).sum()

        moves, moments = optimizer.update(jax.grad(distance)(state.logits), state.optimizer)
        after = optax.apply_updates(state.logits, moves)
        return tasks * jax.nn.softmax(state.logits), GradNormState(after, moments, first)

    def init() -> GradNormState:
        logits = jnp.zeros(tasks)
        return GradNormState(logits, optimizer.init(logits), jnp.zeros(tasks))

    return by_gram(rule, init)


class DbMtlState(NamedTuple):
    """The averaged gradients [tasks ...], or None, and how many there were."""

    average: optax.Updates | None
    count: Int[Array, ""]


def db_mtl(
    *, tasks: int, decay: float = 0.9, decay_power: float = 0.5, logarithm: bool = True
) -> optax.GradientTransformationExtraArgs:
    """DB-MTL: gradients of log-losses, averaged over steps, all made as long as the longest.

    Lin et al. 2023 (https://arxiv.org/abs/2308.12029). The update needs `losses` [tasks] by keyword
    for the logarithm. Without averaging a task that is absent from a batch has no part in it;
    with it, its average goes on and fades.

    Args:
        tasks: their number.
        decay: of the average, which takes the memory of all gradients; 0 keeps none.
        decay_power: the decay is divided by the number of the step to this power, so that the
            average fades. 0 averages all steps alike, as LibMTL does if it is not told otherwise:
            under an optimizer that averages too, such as Adam, use lower learning rates then.
        logarithm: whether gradients are of log-losses, g_i / L_i.
    """

    def init(params) -> DbMtlState:
        def zeros(x: jax.Array) -> jax.Array:
            return jnp.zeros((tasks, *x.shape), x.dtype)

        return DbMtlState(jax.tree.map(zeros, params) if decay else None, jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, *, losses=None, **_):
        del params
        if logarithm:
            if losses is None:
                raise ValueError("db_mtl needs losses: optimizer.update(..., losses=losses)")
            divisors = jnp.where(losses == 0, 1.0, losses + 1e-8)
            updates = jax.tree.map(
                lambda x: x / divisors.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1)), updates
            )
        count = state.count + 1
        if decay:
            share = decay / count**decay_power
            updates = jax.tree.map(
                lambda a, x: (share * a + (1 - share) * x).astype(x.dtype), state.average, updates
            )
        products = gram(updates)
        norms, there = jnp.sqrt(jnp.diagonal(products)), present(products)
        weights = jnp.where(there, norms.max() / jnp.where(there, norms, 1.0), 0.0)
        new = DbMtlState(updates if decay else None, count)
        weights, new = finite_or_nan(products, weights, new, state)
        return combine(weights, updates), new

    return optax.GradientTransformationExtraArgs(init, update)
