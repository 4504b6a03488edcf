"""Weights that follow the step."""

import math
from collections.abc import Callable

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


SHAPES = {"cosine": cosine, "exponential": exponential, "linear": linear}
