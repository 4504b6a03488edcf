"""Which parameters tasks share: only there do their gradients meet.

What a single task's loss reaches, such as its head, just gets that loss's gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.extend.core import Jaxpr, Literal

from mmjax.train.partition import Params

Numbers = frozenset[int]
# Calls whose inner program has the inputs and outputs of the call itself, each once.
CALLS = ("checkpoint", "closed_call", "core_call", "custom_jvp_call", "jit", "pjit", "remat2")


def shared(pull_back: Callable[[Sequence[jax.Array]], Params], tasks: int) -> Params:
    """A tree of booleans: which parameters the losses of more than one task reach.

    Args:
        pull_back: derivatives by each loss -> gradients, as the one of `jax.vjp`.
        tasks: the number of losses.
    """
    ones = [jnp.ones(())] * tasks
    program, form = jax.make_jaxpr(pull_back, return_shape=True)(ones)
    reached = _reached(program.jaxpr, [frozenset((i,)) for i in range(tasks)])
    return jax.tree.unflatten(jax.tree.structure(form), [len(of) > 1 for of in reached])


def _reached(program: Jaxpr, inputs: Sequence[Numbers]) -> list[Numbers]:
    """Of each output of a program, which numbered inputs it may depend on."""
    known: dict[Any, Numbers] = dict(zip(program.invars, inputs, strict=True))

    def of(variable: Any) -> Numbers:
        none: Numbers = frozenset()
        return none if isinstance(variable, Literal) else known.get(variable, none)

    for equation in program.eqns:
        given = [of(variable) for variable in equation.invars]
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        inner = getattr(inner, "jaxpr", inner)
        if equation.primitive.name in CALLS and isinstance(inner, Jaxpr):
            found = _reached(inner, given)
        else:  # a loop, say: all that comes out may depend on all that goes in
            found = [frozenset().union(*given)] * len(equation.outvars)
        known |= dict(zip(equation.outvars, found, strict=True))
    return [of(variable) for variable in program.outvars]


def on_shared(
    aggregator: optax.GradientTransformation, trains: Params | None = None
) -> optax.GradientTransformationExtraArgs:
    """The aggregator on parameters that tasks share; elsewhere gradients [tasks ...] are summed.

    The update takes `shared` by keyword, a tree of booleans, as `shared` gives it; None: all.

    Args:
        aggregator: of gradients [tasks ...]; other keywords of the update go to it.
        trains: which parameters train, as a tree of booleans; what does not has no part in it.
            None: all do.
    """
    inner = optax.with_extra_args_support(aggregator)

    def update(updates, state, params=None, *, shared=None, **others):
        if shared is None:
            shared = jax.tree.map(lambda _: True, updates)
        if trains is not None:
            shared = jax.tree.map(lambda s, t: s and t, shared, trains)
        if not any(jax.tree.leaves(shared)):
            return jax.tree.map(lambda x: x.sum(axis=0), updates), state
        # Zeros add nothing to inner products, and the tree keeps the form that the state has.
        met = jax.tree.map(lambda s, x: x if s else jnp.zeros_like(x), shared, updates)
        found, state = inner.update(met, state, params, **others)
        return jax.tree.map(
            lambda s, x, f: f if s else x.sum(axis=0), shared, updates, found
        ), state

    return optax.GradientTransformationExtraArgs(inner.init, update)
