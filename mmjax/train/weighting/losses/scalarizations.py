"""Functions of all losses that are minimised in place of their sum: weights are its gradient."""

import jax
import jax.numpy as jnp

from mmjax.train.weighting.contract import Losses, LossWeighting, present


def gls() -> LossWeighting:
    """Geometric loss: the product of T losses to the power 1 / T; all losses above 0.

    Its gradient does not depend on the scale of a loss but by a factor that all tasks share.
    Chennupati et al. 2019 (https://arxiv.org/abs/1904.08492). A task that is absent from a batch is
    left out of product and root.
    """

    def update(losses: Losses, state: None) -> tuple[Losses, None]:
        there = present(losses)
        tasks = jnp.maximum(there.sum(), 1)
        safe = jnp.where(there, losses, 1.0)
        mean = jnp.exp(jnp.where(there, jnp.log(safe), 0.0).sum() / tasks)
        return jnp.where(there, mean / (tasks * safe), 0.0), state

    return LossWeighting(lambda _: None, update)


def stch(
    *, smoothing: float = 0.1, preferences: tuple[float, ...] = (), ideal: tuple[float, ...] = ()
) -> LossWeighting:
    """Smooth Tchebycheff: m log sum_i exp(p_i (L_i - z_i) / m), a smooth maximum of losses.

    Every Pareto-optimal point is the minimum for some preferences p if the smoothing m is small.
    Lin et al. 2024 (https://arxiv.org/abs/2402.19078). A task that is absent from a batch is left
    out of the sum.

    Args:
        smoothing: m; the weights are p_i softmax(p (L - z) / m)_i.
        preferences: p, of each task; none: 1 / tasks of each.
        ideal: z, the lowest loss of each task; none: 0.

    Raises:
        ValueError: a smoothing that is not above 0, or options for another number of tasks.
    """
    if smoothing <= 0:
        raise ValueError(f"smoothing={smoothing} must be above 0")

    def init(tasks: int) -> None:
        for name, values in (("preferences", preferences), ("ideal", ideal)):
            if values and len(values) != tasks:
                raise ValueError(f"{name}={values}: there are {tasks} tasks, give one of each")

    def update(losses: Losses, state: None) -> tuple[Losses, None]:
        tasks = len(losses)
        factors = jnp.asarray(preferences or (1 / tasks,) * tasks, jnp.float32)
        above = losses - jnp.asarray(ideal or (0.0,) * tasks, jnp.float32)
        # A finite lowest value: with -inf a batch without any task would give nan.
        logits = jnp.where(present(losses), factors * above / smoothing, -1e30)
        return factors * jax.nn.softmax(logits), state

    return LossWeighting(init, update)
