"""Evaluation of a whole split: exact over ragged last batches, in all and by group."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import jax
import numpy as np
from clu.metrics import Average
from jax.experimental import multihost_utils

from mmjax.errors import UserError
from mmjax.tasks.bound import BATCH
from mmjax.train.step import group_masks
from mmjax.types import GROUP, MASK


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    metrics: each loss and metric, by NAME and NAME/GROUP.
    counts: how many examples each of them is over.
    rows: what the task keeps of each example, by name (see tasks.bound): [examples ...].
    """

    metrics: dict[str, float]
    counts: dict[str, int]
    rows: dict[str, np.ndarray]


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
    whole_set: Callable[[Mapping[str, np.ndarray]], dict[str, float]],
    groups: tuple[str, ...],
    tuned: Mapping[str, np.ndarray],
) -> Evaluation:
    """Runs the split once.

    Args:
        eval_step: (variables, batch) -> (averages, rows); see train.step.
        variables: the model's parameters and other collections.
        batches: batches of numpy arrays, the last ones padded under `_mask`.
        put: sends a batch to the devices.
        split: the split's name, for the error.
        whole_set: all rows and what was tuned -> the metrics that no mean over rows gives.
        groups: names of the groups, numbered as in the batches' `group`.
        tuned: what was tuned on the validation split, as "tuned/NAME".

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
        real = kept[BATCH + MASK]
        parts.append({name: rows[real] for name, rows in kept.items()})
    averages = {name: average for name, average in averages.items() if average.count}
    if not averages:
        raise UserError(f"the {split} split holds no example; check config.data")
    metrics = {name: float(average.compute()) for name, average in averages.items()}
    counts = {name: int(average.count) for name, average in averages.items()}
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for suffix, chosen in group_masks(rows[BATCH + GROUP], groups).items():
        if not chosen.any():
            continue
        found = whole_set({name: array[chosen] for name, array in rows.items()} | dict(tuned))
        metrics |= {name + suffix: value for name, value in found.items()}
        counts |= dict.fromkeys((name + suffix for name in found), int(chosen.sum()))
    return Evaluation(metrics=metrics, counts=counts, rows=rows)
