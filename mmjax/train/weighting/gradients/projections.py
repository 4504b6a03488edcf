"""Aggregators that change each gradient until it no longer conflicts: PCGrad and GradVac."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt32

from mmjax.train.weighting.gradients.gram import Gram, Weights, by_gram

Orders = Int[Array, "tasks tasks"]


def pcgrad(*, seed: int = 0) -> optax.GradientTransformation:
    """PCGrad: each gradient without what conflicts with others, in random order; then the sum.

    Where <g_i, g_j> < 0, g_i loses its part along g_j. Without conflicts it is the plain sum.
    Yu et al. 2020 (https://arxiv.org/abs/2001.06782). A gradient of 0 conflicts with nothing.

    Args:
        seed: of the orders; the key is in the state.
    """

    def rule(products: Gram, key: UInt32[Array, "2"], _: Weights | None) -> tuple[Weights, Array]:
        key, drawn = jax.random.split(key)
        return pcgrad_weights(products, orders(drawn, len(products))), key

    return by_gram(rule, lambda: jax.random.PRNGKey(seed))


def orders(key: UInt32[Array, "2"], tasks: int) -> Orders:
    """Of each task a random order of all."""
    keys = jax.random.split(key, tasks)
    return jax.vmap(lambda k: jax.random.permutation(k, tasks))(keys)


def pcgrad_weights(products: Gram, order: Orders) -> Weights:
    """Weights [tasks], where the gradient of task i meets the others in the order `order[i]`."""
    tasks = len(products)

    def projected(own: Int[Array, ""], others: Int[Array, " tasks"]) -> Weights:
        def meet(part: Weights, other: Int[Array, ""]) -> tuple[Weights, None]:
            product = products[other] @ part
            conflicts = (product < 0) & (other != own) & (products[other, other] > 0)
            length = jnp.where(conflicts, products[other, other], 1.0)
            return part.at[other].add(jnp.where(conflicts, -product / length, 0.0)), None

        return jax.lax.scan(meet, jax.nn.one_hot(own, tasks), others)[0]

    return jax.vmap(projected)(jnp.arange(tasks), order).sum(axis=0)


class GradVacState(NamedTuple):
    """The cosines that are expected between gradients, and the random key."""

    expected: Float[Array, "tasks tasks"]
    key: UInt32[Array, "2"]


def gradvac(*, tasks: int, decay: float = 0.5, seed: int = 0) -> optax.GradientTransformation:
    """GradVac: each gradient is turned until its cosine with others is what it is on average.

    PCGrad with an expected cosine, a moving average, in place of 0; then the sum. Wang et al. 2021
    (https://arxiv.org/abs/2010.05874). A gradient of 0 turns nothing and leaves its averages.

    Args:
        tasks: their number.
        decay: the share of the new cosine in the moving average.
        seed: of the orders; the key is in the state.
    """

    def rule(
        products: Gram, state: GradVacState, _: Weights | None
    ) -> tuple[Weights, GradVacState]:
        key, drawn = jax.random.split(state.key)
        order = orders(drawn, len(products))
        weights, expected = gradvac_weights(products, state.expected, order, decay)
        return weights, GradVacState(expected, key)

    def init() -> GradVacState:
        return GradVacState(jnp.zeros((tasks, tasks)), jax.random.PRNGKey(seed))

    return by_gram(rule, init)


def gradvac_weights(
    products: Gram, expected: Gram, order: Orders, decay: float
) -> tuple[Weights, Gram]:
    """Weights [tasks] and the next expected cosines; `order` as of `pcgrad_weights`."""
    tasks = len(products)
    norms = jnp.sqrt(jnp.diagonal(products))

    def turned(
        own: Int[Array, ""], others: Int[Array, " tasks"], goal: Weights
    ) -> tuple[Weights, Weights]:
        def meet(
            carry: tuple[Weights, Weights], other: Int[Array, ""]
        ) -> tuple[tuple[Weights, Weights], None]:
            part, goal = carry
            norm = jnp.sqrt(jnp.maximum(part @ products @ part, 0.0))
            counts = (other != own) & (norm > 0) & (norms[other] > 0)
            lengths = jnp.where(counts, norm * norms[other], 1.0)
            cosine = jnp.clip(products[other] @ part / lengths, -1.0, 1.0)
            wanted = goal[other]
            sine, wanted_sine = jnp.sqrt(1 - cosine**2), jnp.sqrt(1 - wanted**2)
            turns = counts & (cosine < wanted) & (wanted_sine > 0)
            below = jnp.where(turns, norms[other] * wanted_sine, 1.0)
            add = norm * (wanted * sine - cosine * wanted_sine) / below
            part = part.at[other].add(jnp.where(turns, add, 0.0))
            after = jnp.where(counts, (1 - decay) * wanted + decay * cosine, wanted)
            return (part, goal.at[other].set(after)), None

        return jax.lax.scan(meet, (jax.nn.one_hot(own, tasks), goal), others)[0]

    parts, expected = jax.vmap(turned)(jnp.arange(tasks), order, expected)
    return parts.sum(axis=0), expected
