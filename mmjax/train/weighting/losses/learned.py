"""Weights that are learned beside the parameters, by an Adam of their own.

Their learning rate is an option and not that of the model, whose schedule and weight decay would
be wrong for a log-variance; the parameters and the moments are the state of the weighting.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mmjax.train.weighting.contract import Losses, LossWeighting, present


class LearnedState(NamedTuple):
    """The learned parameter of each task, and the state of its optimizer."""

    parameter: Float[Array, " tasks"]
    optimizer: optax.OptState


def uncertainty(*, learning_rate: float = 0.01, start: float = 0.0) -> LossWeighting:
    """Homoscedastic uncertainty: sum_i exp(-s_i) L_i / 2 + s_i / 2 with a learned s_i.

    s_i = log sigma_i^2 is the log-variance of a task; the weight of a task is exp(-s_i) / 2, which
    at rest is 1 / (2 L_i). Kendall et al. 2018 (https://arxiv.org/abs/1705.07115). A task that is
    absent from a batch keeps its s_i but for the momentum of Adam.

    Args:
        learning_rate: of the log-variances.
        start: their first value.
    """
    return _learned(
        lambda s, losses: jnp.exp(-s) * losses / 2 + s / 2,
        lambda s: jnp.exp(-s) / 2,
        learning_rate,
        start,
    )


def imtl_l(*, learning_rate: float = 0.01, start: float = 0.0) -> LossWeighting:
    """Impartial losses: sum_i exp(s_i) L_i - s_i with a learned s_i.

    The weight of a task is exp(s_i), which at rest is 1 / L_i: all weighted losses are 1, whatever
    their scales. Liu et al. 2021, IMTL-L (https://openreview.net/forum?id=IMPnRXEWpvr). A task that
    is absent from a batch keeps its s_i but for the momentum of Adam.

    Args:
        learning_rate: of the s_i.
        start: their first value.
    """
    return _learned(lambda s, losses: jnp.exp(s) * losses - s, jnp.exp, learning_rate, start)


def _learned(
    objective: Callable[[Losses, Losses], Losses],
    weight: Callable[[Losses], Losses],
    learning_rate: float,
    start: float,
) -> LossWeighting:
    optimizer = optax.adam(learning_rate)

    def init(tasks: int) -> LearnedState:
        parameter = jnp.full(tasks, start, jnp.float32)
        return LearnedState(parameter, optimizer.init(parameter))

    def update(losses: Losses, state: LearnedState) -> tuple[Losses, LearnedState]:
        def total(parameter: Losses) -> Float[Array, ""]:
            return jnp.sum(jnp.where(present(losses), objective(parameter, losses), 0.0))

        gradient = jax.grad(total)(state.parameter)
        updates, moments = optimizer.update(gradient, state.optimizer)
        after = optax.apply_updates(state.parameter, updates)
        return weight(state.parameter), LearnedState(after, moments)

    return LossWeighting(init, update)
