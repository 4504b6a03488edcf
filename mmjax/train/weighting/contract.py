"""What a weighting of tasks by their losses is, and a loss of features that has a state."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Losses = Float[Array, " tasks"]


class LossWeighting(NamedTuple):
    """Weights of tasks by their losses, as pure functions.

    The gradient of a step is that of sum_i w_i L_i, from one backward pass; none flows through the
    weights. A method that minimises a function f of the losses has w_i = df/dL_i; one that learns
    parameters of its own keeps them, and their optimizer's state, in its state.

    init: number of tasks -> its state, a pytree; None for none.
    update: (losses [tasks], state) -> (weights [tasks], the next state).
    observe: (losses [tasks] before an update of the parameters, those after it of the same batch,
        state) -> the next state; None where that forward pass is not needed.
    """

    init: Callable[[int], Any]
    update: Callable[[Losses, Any], tuple[Losses, Any]]
    observe: Callable[[Losses, Losses, Any], Any] | None = None


class FeatureLoss(NamedTuple):
    """A loss of what encoders put out, beside those of the tasks, that has a state.

    No gradient flows through the state, which is in the checkpoints as that of a weighting is.

    init: what the model puts out, or its shapes, by name -> the state, a pytree.
    value: (what the model puts out, the batch, the step, the state) -> (the loss, the next state).
        Both are over all rows of the batch, on however many devices it lies.
    """

    init: Callable[[Mapping[str, Any]], Any]
    value: Callable[
        [Mapping[str, Array], Mapping[str, Array], Int[Array, ""], Any],
        tuple[Float[Array, ""], Any],
    ]


def present(losses: Losses) -> Bool[Array, " tasks"]:
    """Which tasks a batch has rows of: a task without any has a loss of exactly 0."""
    return losses != 0


def scaled(inner: LossWeighting, weights: Sequence[float]) -> LossWeighting:
    """A weighting of losses w_i L_i with constant w_i; a task with 0 is as if it were absent."""
    factors = jnp.asarray(weights, jnp.float32)

    def update(losses: Losses, state: Any) -> tuple[Losses, Any]:
        found, state = inner.update(factors * losses, state)
        return factors * found, state

    def observe(before: Losses, after: Losses, state: Any) -> Any:
        return inner.observe(factors * before, factors * after, state)

    return LossWeighting(inner.init, update, observe if inner.observe else None)
