"""Several weightings as branches of one program: what compiles long is compiled once for all.

Which one a run uses is a number in its state. Nothing else differs from `config.weighting`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mmjax.train.weighting import LossWeighting


class Choice(NamedTuple):
    """The number of the method that is used, and the states of all."""

    index: Any
    states: tuple[Any, ...]


def one_of(update: Callable[[int, Any], tuple[Any, Any]], count: int, choice: Choice) -> Any:
    """What the chosen method makes, and the next states, in which its own alone has changed."""

    def branch(number: int) -> Callable:
        def apply(states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
            made, state = update(number, states[number])
            state = jax.tree.map(lambda n, o: n.astype(o.dtype), state, states[number])
            return made, (*states[:number], state, *states[number + 1 :])

        return apply

    branches = [branch(number) for number in range(count)]
    made, states = jax.lax.switch(choice.index, branches, choice.states)
    return made, Choice(choice.index, states)


def one_of_weightings(ways: Sequence[Any]) -> Any:
    """A loss weighting that is one of several, as its state says."""

    def init(tasks: int) -> Choice:
        return Choice(jnp.zeros((), jnp.int32), tuple(way.init(tasks) for way in ways))

    def update(losses: Any, choice: Choice) -> Any:
        return one_of(lambda i, state: ways[i].update(losses, state), len(ways), choice)

    return LossWeighting(init, update)


def one_of_aggregators(ways: Sequence[Any]) -> Any:
    """An aggregator of gradients that is one of several, as its state says."""
    ways = [optax.with_extra_args_support(way) for way in ways]

    def init(params: Any) -> Choice:
        return Choice(jnp.zeros((), jnp.int32), tuple(way.init(params) for way in ways))

    def update(updates: Any, choice: Choice, params: Any = None, **given: Any) -> Any:
        return one_of(lambda i, s: ways[i].update(updates, s, params, **given), len(ways), choice)

    return optax.GradientTransformationExtraArgs(init, update)


def with_choice(state: Any, number: int | None) -> Any:
    """A copy of the first state of a run, with this branch chosen; None where there are none."""
    state = jax.tree.map(jnp.copy, state)
    if number is None:
        return state
    if isinstance(state.weighting, Choice):
        index = jnp.full_like(state.weighting.index, number)
        return state.replace(weighting=state.weighting._replace(index=index))
    first, *rest = state.opt_state
    chosen = first._replace(index=jnp.full_like(first.index, number))
    return state.replace(opt_state=(chosen, *rest))
