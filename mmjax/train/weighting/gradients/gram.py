"""Gradient aggregators that need no more of the gradients than their inner products."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

Gram = Float[Array, "tasks tasks"]
Weights = Float[Array, " tasks"]
Gradients = Any  # a tree of arrays [tasks ...]
# (inner products, state, losses or None) -> (weights, the next state).
Rule = Callable[[Gram, Any, Weights | None], tuple[Weights, Any]]
EXACT = jax.lax.Precision.HIGHEST


def number_of(gradients: Gradients) -> int:
    """How many tasks gradients [tasks ...] are of."""
    return jax.tree.leaves(gradients)[0].shape[0]


def gram(gradients: Gradients) -> Gram:
    """The inner products of gradients [tasks ...], summed over all arrays of a tree, in float32.

    Nothing is flattened or copied: arrays that are divided over devices stay so. Squares of norms
    below 1e-38 are 0 and above 1e38 infinite.
    """

    def of_leaf(x: jax.Array) -> Gram:
        axes = tuple(range(1, x.ndim))
        contract = ((axes, axes), ((), ()))
        return jax.lax.dot_general(x, x, contract, EXACT, jnp.float32)

    return sum(map(of_leaf, jax.tree.leaves(gradients)))


def combine(weights: Weights, gradients: Gradients) -> Any:
    """sum_i w_i g_i of gradients [tasks ...]; each array keeps its type."""

    def of_leaf(x: jax.Array) -> jax.Array:
        first = (((0,), (0,)), ((), ()))
        found = jax.lax.dot_general(weights.astype(x.dtype), x, first, EXACT, jnp.float32)
        return found.astype(x.dtype)

    return jax.tree.map(of_leaf, gradients)


def present(products: Gram) -> Bool[Array, " tasks"]:
    """Which tasks have a gradient that is not exactly 0, as that of a task without any row is."""
    return jnp.diagonal(products) != 0


def cosines(products: Gram) -> tuple[Gram, Weights]:
    """Cosines and norms [tasks]; of an absent task the cosine with itself is 1, with others 0."""
    norms = jnp.sqrt(jnp.diagonal(products))
    safe = jnp.where(present(products), norms, 1.0)
    found = products / (safe[:, None] * safe[None, :])
    return jnp.where(jnp.eye(len(norms), dtype=bool), 1.0, found), norms


def normalized(products: Gram) -> tuple[Gram, Float[Array, ""]]:
    """Inner products of which the trace is 1, and the trace that they had (1 for 0)."""
    trace = jnp.trace(products)
    trace = jnp.where(trace == 0, 1.0, trace)
    return products / trace, trace


def finite_or_nan(products: Gram, weights: Weights, new: Any, old: Any) -> tuple[Weights, Any]:
    """Weights and state if all inner products are finite; else nan, and the state as it was."""
    finite = jnp.isfinite(products).all()
    state = jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)
    return jnp.where(finite, weights, jnp.nan), state


def by_gram(rule: Rule, init: Callable[[], Any] | None = None) -> optax.GradientTransformation:
    """The aggregator sum_i w_i g_i whose weights are a function of the inner products <g_i, g_j>.

    It may begin the chain of any optimizer: `optax.chain(by_gram(rule), optax.adamw(1e-3))`, which
    is then given gradients [tasks ...]. Where a gradient is not finite, the whole update is nan and
    the state stays.

    Args:
        rule: inner products [tasks tasks], state, losses [tasks] if they are given -> weights
            [tasks], state.
        init: () -> the first state, if there is any.

    The update takes two more arguments by keyword. `losses` [tasks], for rules that need them.
    `features`, the gradients [tasks ...] of the losses with respect to features that all tasks
    share: the inner products are then of these, as in MGDA-UB (Sener & Koltun 2018,
    https://arxiv.org/abs/1810.04650).
    """

    def update(updates, state, params=None, *, losses=None, features=None, **_):
        del params
        products = gram(updates if features is None else features)
        weights, new = rule(products, state, losses)
        weights, new = finite_or_nan(products, weights, new, state)
        return combine(weights, updates), new

    def start(params):
        del params
        return optax.EmptyState() if init is None else init()

    return optax.GradientTransformationExtraArgs(start, update)


def stateless(weights: Callable[[Gram], Weights]) -> Rule:
    """A rule of inner products alone."""
    return lambda products, state, _: (weights(products), state)
