"""Weights by how fast losses fall."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mmjax.train.weighting.contract import Losses, LossWeighting, present


class DwaState(NamedTuple):
    """Of the current window the sums and counts of losses and the steps; the last two means."""

    sums: Float[Array, " tasks"]
    counts: Float[Array, " tasks"]
    steps: Int[Array, ""]
    means: Float[Array, "2 tasks"]
    windows: Int[Array, ""]


def dwa(*, temperature: float = 2.0, window: int = 100) -> LossWeighting:
    """DWA: tasks whose losses fall slowly get higher weights.

    They are T softmax(r / temperature) of T tasks, r_i = L_i(t-1) / L_i(t-2), where L_i(t) is the
    mean of a loss over a window of steps; the paper's window is an epoch. Weights are 1 in the
    first two windows, and do not follow the scale of a loss.
    Liu et al. 2019 (https://arxiv.org/abs/1803.10704). A task that is absent from a batch does not
    count there; of one that is absent from a whole window the last mean stays.

    Args:
        temperature: above 0; the higher, the more equal are the weights.
        window: in steps.

    Raises:
        ValueError: a temperature or a window that is not above 0.
    """
    if temperature <= 0 or window <= 0:
        raise ValueError(f"temperature={temperature} and window={window} must both be above 0")

    def init(tasks: int) -> DwaState:
        zero, none = jnp.zeros((), jnp.int32), jnp.zeros(tasks)
        return DwaState(none, none, zero, jnp.ones((2, tasks)), zero)

    def update(losses: Losses, state: DwaState) -> tuple[Losses, DwaState]:
        older, newer = state.means
        ratio = newer / jnp.where(older == 0, 1.0, older)
        weights = len(losses) * jax.nn.softmax(ratio / temperature)
        weights = jnp.where(state.windows < 2, jnp.ones_like(losses), weights)
        sums, counts = state.sums + losses, state.counts + present(losses)
        steps = state.steps + 1
        full = steps == window
        mean = jnp.where(counts > 0, sums / jnp.maximum(counts, 1), newer)
        # The first mean stands in both places, so that an absent task has the ratio 1.
        older = jnp.where(state.windows == 0, mean, newer)
        return weights, DwaState(
            sums=jnp.where(full, 0.0, sums),
            counts=jnp.where(full, 0.0, counts),
            steps=jnp.where(full, 0, steps),
            means=jnp.where(full, jnp.stack([older, mean]), state.means),
            windows=state.windows + full,
        )

    return LossWeighting(init, update)


class FamoState(NamedTuple):
    """The logits, the state of their Adam, and the losses of the batch before (0: none)."""

    logits: Float[Array, " tasks"]
    optimizer: optax.OptState
    before: Float[Array, " tasks"]


EPSILON = 1e-8


def famo(
    *,
    learning_rate: float = 0.025,
    weight_decay: float = 1e-3,
    lowest: float = 0.0,
    same_batch: bool = False,
) -> LossWeighting:
    """FAMO: all log-losses are to fall equally fast; no gradient of a single task is needed.

    With z = softmax(w) the weights are c z_i / L_i, where c makes their sum 1; w follows, by Adam,
    the gradient of sum_i z_i (log L_i before - log L_i after an update). Liu et al. 2023
    (https://arxiv.org/abs/2306.03792). Weights do not change when a loss has another scale but
    through 1 / L_i. A task that is absent from a batch has no weight there and its fall is 0.

    Args:
        learning_rate: of the logits.
        weight_decay: of the logits, added to their gradient.
        lowest: what no loss falls below; it is taken off.
        same_batch: compares losses of one batch before and after, as the paper does, with another
            forward pass; else those of one batch and the next, which costs nothing.
    """
    optimizer = optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(learning_rate))

    def init(tasks: int) -> FamoState:
        logits = jnp.zeros(tasks)
        return FamoState(logits, optimizer.init(logits), jnp.zeros(tasks))

    def moved(before: Losses, after: Losses, state: FamoState) -> FamoState:
        known = present(before) & present(after) & jnp.isfinite(after)
        fall = jnp.log(before - lowest + EPSILON) - jnp.log(after - lowest + EPSILON)
        fall = jnp.where(known, fall, 0.0)
        (gradient,) = jax.vjp(jax.nn.softmax, state.logits)[1](fall)
        updates, moments = optimizer.update(gradient, state.optimizer, state.logits)
        logits = optax.apply_updates(state.logits, updates)
        return state._replace(logits=logits, optimizer=moments)

    def update(losses: Losses, state: FamoState) -> tuple[Losses, FamoState]:
        if not same_batch:
            after = moved(state.before, losses, state)
            begun = present(state.before).any()
            state = jax.tree.map(lambda n, o: jnp.where(begun, n, o), after, state)
            state = state._replace(before=losses)
        shares = jax.nn.softmax(state.logits) / (losses - lowest + EPSILON)
        shares = jnp.where(present(losses), shares, 0.0)
        total = shares.sum()
        return shares / jnp.where(total == 0, 1.0, total), state

    return LossWeighting(init, update, moved if same_batch else None)
