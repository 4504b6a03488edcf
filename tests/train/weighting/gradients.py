"""What the tests of gradient aggregators share: each of them, and gradients of three tasks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.train import weighting

TASKS = 3
LOSSES = jnp.array([1.0, 0.5, 2.0])
AGGREGATORS = {  # but for MMPareto, which is not of tasks alone
    "aligned_mtl": weighting.aligned_mtl(),
    "cagrad": weighting.cagrad(),
    "db_mtl": weighting.db_mtl(tasks=TASKS, decay=0.0),
    "dual_projection": weighting.dual_projection(),
    "fairgrad": weighting.fairgrad(alpha=2.0),
    "graddrop": weighting.graddrop(),
    "gradnorm": weighting.gradnorm(tasks=TASKS),
    "gradvac": weighting.gradvac(tasks=TASKS),
    "imtl_g": weighting.imtl_g(),
    "mean": weighting.mean_of_tasks(),
    "mgda": weighting.mgda(),
    "nash_mtl": weighting.nash_mtl(),
    "pcgrad": weighting.pcgrad(),
    "random_gradients": weighting.random_gradients(),
    "sum": weighting.sum_of_tasks(),
    "upgrad": weighting.upgrad(),
}
WITH_LOSSES = ("db_mtl", "gradnorm")


def tree_of(rows):
    """Rows [tasks 12] as a tree of two arrays."""
    rows = jnp.asarray(rows, jnp.float32)
    return {"bias": rows[:, :4], "kernel": rows[:, 4:].reshape(-1, 2, 4)}


def rows_of(tree):
    """The other way round, without the axis of tasks where there is none."""
    many = tree["bias"].ndim - 1
    kernel = np.asarray(tree["kernel"]).reshape(*tree["bias"].shape[:many], 8)
    return np.concatenate([np.asarray(tree["bias"]), kernel], axis=-1)


@functools.cache
def jitted(name):
    found = AGGREGATORS[name]
    if name in WITH_LOSSES:
        return jax.jit(lambda g, s, losses: found.update(g, s, losses=losses))
    return jax.jit(lambda g, s, _: found.update(g, s))


def aggregate(name, rows, state=None, losses=LOSSES):
    """The aggregate [12] of rows [tasks 12], and the state."""
    if state is None:
        params = jax.tree.map(lambda x: x[0], tree_of(rows))
        state = AGGREGATORS[name].init(params)
    found, state = jitted(name)(tree_of(rows), state, losses)
    return rows_of(found), state


def random_rows(seed=0, tasks=TASKS):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(tasks, 12)) * np.exp(rng.normal(size=(tasks, 1)))).astype(np.float32)


def conflicting_rows():
    """Each gradient conflicts with the sum of the others, and they are not alike in length."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(TASKS, 12))
    rows -= 0.8 * rows.mean(axis=0) + np.array([[2.0], [-1.0], [-1.0]]) * np.ones(12) / 3
    return (rows * np.array([[1.0], [0.5], [3.0]])).astype(np.float32)
