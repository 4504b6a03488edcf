"""How losses weigh against each other: within a task, and tasks among each other.

Within a task a weight is a number or a function of the step. Among tasks it is a `LossWeighting`,
whose weights may follow the losses, with one backward pass for all tasks; or a gradient aggregator,
an optax transformation whose input has an axis of tasks in front, which begins the chain of the
optimizer: `optax.chain(mean_of_tasks(), optax.adamw(...))`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

Weight = float | Callable[[jax.Array], jax.Array]


def weight_at(weight: Weight, step: Int[Array, ""]) -> float | Float[Array, ""]:
    """The weight of a loss at a step."""
    return jnp.asarray(weight(step), jnp.float32) if callable(weight) else weight


def linear(*, start: float = 0.0, end: float = 1.0, begin: int = 0, steps: int = 1000) -> Weight:
    """`start` up to the step `begin`, then a straight line to `end` over `steps` steps."""
    return optax.schedules.linear_schedule(start, end, steps, begin)


def cosine(*, start: float = 0.0, end: float = 1.0, begin: int = 0, steps: int = 1000) -> Weight:
    """As `linear`, along half a cosine."""

    def weight(step: jax.Array) -> jax.Array:
        share = jnp.clip((step - begin) / steps, 0.0, 1.0)
        return start + (end - start) * (1 - jnp.cos(math.pi * share)) / 2

    return weight


def exponential(
    *, start: float = 1.0, end: float = 0.01, begin: int = 0, steps: int = 1000
) -> Weight:
    """As `linear`, by the same factor at each step; both ends above 0.

    Raises:
        ValueError: an end that is not above 0.
    """
    if min(start, end) <= 0:
        raise ValueError(f"start={start} and end={end} must both be above 0")

    def weight(step: jax.Array) -> jax.Array:
        return start * (end / start) ** jnp.clip((step - begin) / steps, 0.0, 1.0)

    return weight


class LossWeighting(NamedTuple):
    """Weights of tasks by their losses, as a pair of pure functions.

    init: number of tasks -> its state, a pytree; None for none.
    update: (losses [tasks], state) -> (weights [tasks], the next state). No gradient flows through
        the weights.
    """

    init: Callable[[int], Any]
    update: Callable[[Float[Array, " tasks"], Any], tuple[Float[Array, " tasks"], Any]]


def fixed(weights: Sequence[float]) -> LossWeighting:
    """The same weights at every step."""
    return LossWeighting(
        lambda _: None, lambda _, state: (jnp.asarray(weights, jnp.float32), state)
    )


def mean_of_tasks() -> optax.GradientTransformation:
    """The gradient aggregator that averages: gradients [tasks ...] -> [...]."""

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda x: jnp.mean(x, axis=0), updates), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)
