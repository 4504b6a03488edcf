"""Before a run starts, its evaluation is gone through with shapes alone: do all names exist?"""

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmjax import cli
from mmjax.data.pipeline.loader import Examples
from mmjax.errors import UserError
from mmjax.tasks.keyed import BATCH
from mmjax.tasks.task import Task, prefix
from mmjax.train.step import eval_step, slice_masks
from mmjax.types import TARGETS, Input

ROWS = 32  # of what is invented, at least; and one for each class
FEW = 2  # examples that are looked at
OF_TRAINING = ("loss", "grad_norm")  # what training also measures


def sample(examples: Examples) -> dict[str, np.ndarray]:
    """A batch of the first examples of a split.

    Raises:
        UserError: it has none.
    """
    if not examples.eval_length():
        raise UserError(f"the split {examples.name} holds no example; check config.data")
    return examples.batch([examples.eval_row(i) for i in range(min(FEW, examples.eval_length()))])


def check_names(
    config: ConfigDict,
    *,
    model: Any,
    tasks: Mapping[str, Task],
    example: Mapping[str, Input],
    batch: Mapping[str, np.ndarray],
    classes: Mapping[str, int],
    slices: tuple[str, ...],
) -> dict[str, Any]:
    """Looks for all that losses and metrics read, and for config.train.monitor.

    Returns:
        The shapes of the model's outputs.

    Raises:
        UserError: one that there is not, with the nearest, or what the parts raise.
    """
    key = jax.random.PRNGKey(0)
    try:
        variables = jax.eval_shape(lambda k: model.init(k, dict(example)), key)
        outputs = jax.eval_shape(lambda v: model.apply(v, dict(example)), variables)
        averages, kept = jax.eval_shape(
            lambda v, b: eval_step(v, b, model=model, tasks=tasks, slices=()),
            variables,
            dict(batch),
        )
    except (TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"config: encoders, fusion, head and losses do not go together: {reason}"
        ) from error
    names = [*averages]
    for name, task in tasks.items():
        count = classes.get(name, 1)
        rows = {key: _invented(key, x, max(ROWS, count), count) for key, x in kept[name].items()}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # the numbers mean nothing
            names += [prefix(tasks, name) + key for key in task.dataset_metrics(rows)]
    suffixes = slice_masks(np.zeros(0, int), slices)
    known = [f"val/{name}{suffix}" for suffix in suffixes for name in names]
    known += [f"train/{name}" for name in (*averages, *OF_TRAINING)]
    monitor = config.train.monitor
    if monitor not in known:
        raise UserError(f"config.train.monitor: unknown {monitor!r}; {cli.nearest(monitor, known)}")
    return outputs


def _invented(name: str, kept: Any, rows: int, classes: int) -> np.ndarray:
    """Rows of what an evaluation keeps, of all classes: metrics are named as in a real one."""
    shape = (rows, *kept.shape[1:])
    numbers = np.arange(np.prod(shape)).reshape(shape)
    if kept.dtype == bool:
        return np.ones(shape, bool)
    if np.issubdtype(kept.dtype, np.integer):
        return (numbers % max(classes, 1)).astype(kept.dtype)
    if name.startswith(BATCH + TARGETS):
        return (numbers % 2).astype(kept.dtype)
    drawn = np.random.default_rng(0).random(shape) + 0.01
    return (drawn / drawn.sum(axis=-1, keepdims=True)).astype(kept.dtype)
