"""Weights that no loss changes: constants, schedules and random draws."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from mmjax.train.weighting.contract import Losses, LossWeighting
from mmjax.train.weighting.schedules import SHAPES, weight_at


def fixed(weights: Sequence[float]) -> LossWeighting:
    """The same weights at every step: those that the tasks have."""
    return LossWeighting(
        lambda _: None, lambda _, state: (jnp.asarray(weights, jnp.float32), state)
    )


def scheduled(
    *,
    start: tuple[float, ...],
    end: tuple[float, ...],
    begin: int = 0,
    steps: int = 1000,
    shape: str = "linear",
) -> LossWeighting:
    """Weights that go from `start` to `end`, one of each task, as the step does.

    Args:
        start: weights of the tasks up to the step `begin`.
        end: weights of the tasks from the step `begin + steps` on.
        begin: the step up to which nothing changes.
        steps: how many steps the change takes.
        shape: linear, cosine or exponential.

    Raises:
        ValueError: another shape, or ends for another number of tasks.
    """
    if shape not in SHAPES:
        raise ValueError(f"shape={shape!r}: choose one of {', '.join(SHAPES)}")
    if len(start) != len(end):
        raise ValueError(f"start={start} and end={end}: give a weight of each task in both")
    ends = zip(start, end, strict=True)
    weights = [SHAPES[shape](start=a, end=b, begin=begin, steps=steps) for a, b in ends]

    def init(tasks: int) -> Int[Array, ""]:
        if tasks != len(weights):
            raise ValueError(f"start={start}: there are {tasks} tasks, give a weight of each")
        return jnp.zeros((), jnp.int32)

    def update(losses: Losses, step: Int[Array, ""]) -> tuple[Losses, Int[Array, ""]]:
        del losses
        return jnp.stack([jnp.asarray(weight_at(w, step)) for w in weights]), step + 1

    return LossWeighting(init, update)


Draw = Callable[[UInt32[Array, "2"], int], Float[Array, " tasks"]]


def _one_hot(key: UInt32[Array, "2"], tasks: int) -> Float[Array, " tasks"]:
    return jax.nn.one_hot(jax.random.randint(key, (), 0, tasks), tasks)


DRAWS: Mapping[str, Draw] = {
    "dirichlet": lambda key, tasks: jax.random.dirichlet(key, jnp.ones(tasks)),
    "normal": lambda key, tasks: jax.nn.softmax(jax.random.normal(key, (tasks,))),
    "one": _one_hot,
    "uniform": lambda key, tasks: jax.nn.softmax(jax.random.uniform(key, (tasks,))),
}


def random_weights(*, distribution: str = "normal", seed: int = 0) -> LossWeighting:
    """RLW: weights drawn anew at every step, which sum to 1.

    Lin et al. 2022 (https://arxiv.org/abs/2111.10603). A task that is absent from a batch is drawn
    a weight like the others; what that would move is left out.

    Args:
        distribution: normal or uniform, both through a softmax; dirichlet; or one: a single task.
        seed: of the draws; the key is in the state.

    Raises:
        ValueError: another distribution.
    """
    if distribution not in DRAWS:
        raise ValueError(f"distribution={distribution!r}: choose one of {', '.join(DRAWS)}")

    def update(losses: Losses, key: Any) -> tuple[Losses, Any]:
        key, drawn = jax.random.split(key)
        return DRAWS[distribution](drawn, len(losses)), key

    return LossWeighting(lambda _: jax.random.PRNGKey(seed), update)
