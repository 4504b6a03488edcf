"""Evaluation of a whole split: exact over ragged last batches, in all and by slice."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import jax
import numpy as np
from clu.metrics import Average
from jax.experimental import multihost_utils

from mmjax.errors import UserError
from mmjax.tasks.keyed import BATCH
from mmjax.tasks.task import prefix
from mmjax.train.step import Tasks, slice_masks
from mmjax.types import MASK, SLICE


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    metrics: each loss and metric, by NAME and NAME/SLICE, with "TASK/" in front where there are
        several tasks.
    counts: how many examples each of them is over.
    rows: by task, what it keeps of each example, by name (see tasks.keyed): [examples ...].
    """

    metrics: dict[str, float]
    counts: dict[str, int]
    rows: dict[str, dict[str, np.ndarray]]


def to_host(tree):
    """Global arrays as numpy on every process."""
    if jax.process_count() > 1:
        return jax.tree.map(lambda x: multihost_utils.process_allgather(x, tiled=True), tree)
    return jax.device_get(tree)


def evaluate(
    eval_step: Callable,
    variables,
    batches: Iterable,
    put: Callable,
    *,
    split: str,
    tasks: Tasks,
    slices: tuple[str, ...],
    tuned: Mapping[str, Mapping[str, np.ndarray]],
) -> Evaluation:
    """Runs the split once.

    Args:
        eval_step: (variables, batch) -> (averages, rows); see train.step.
        variables: the model's parameters and other collections.
        batches: batches of numpy arrays, the last ones padded under `_mask`.
        put: sends a batch to the devices.
        split: the split's name, for the error.
        tasks: what is asked of the model, by name.
        slices: names of the slices, numbered as in the batches' `slice`.
        tuned: by task, what was tuned on the validation split, as "tuned/NAME".

    Raises:
        UserError: the split holds no example.
    """
    averages: dict[str, Average] = {}
    parts = []
    for batch in batches:
        update, kept = eval_step(variables, put(batch))
        for name, average in jax.device_get(update).items():
            # Float64 on the host: a sum over a large set keeps its last digits.
            exact = Average(np.float64(average.total), np.int64(average.count))
            averages[name] = averages[name].merge(exact) if name in averages else exact
        kept = to_host(kept)
        parts.append(
            {
                task: {name: array[rows[BATCH + MASK]] for name, array in rows.items()}
                for task, rows in kept.items()
            }
        )
    averages = {name: average for name, average in averages.items() if average.count}
    if not averages:
        raise UserError(f"the {split} split holds no example; check config.data")
    metrics = {name: float(average.compute()) for name, average in averages.items()}
    counts = {name: int(average.count) for name, average in averages.items()}
    rows = {
        task: {name: np.concatenate([part[task][name] for part in parts]) for name in of_task}
        for task, of_task in parts[0].items()
    }
    for name, task in tasks.items():
        for suffix, chosen in in_slices(rows[name], slices).items():
            found = task.dataset_metrics(chosen | dict(tuned.get(name, {})))
            keys = {key: prefix(tasks, name) + key + suffix for key in found}
            metrics |= {keys[key]: value for key, value in found.items()}
            counts |= dict.fromkeys(keys.values(), len(chosen[BATCH + MASK]))
    return Evaluation(metrics=metrics, counts=counts, rows=rows)


def in_slices(
    rows: Mapping[str, np.ndarray], slices: tuple[str, ...]
) -> dict[str, dict[str, np.ndarray]]:
    """The rows of each slice that has any, by "/SLICE"; all of them by ""."""
    masks = slice_masks(rows[BATCH + SLICE], slices)
    return {
        suffix: {name: array[chosen] for name, array in rows.items()}
        for suffix, chosen in masks.items()
        if chosen.any()
    }
