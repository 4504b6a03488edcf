"""Evaluation of a whole split: exact over ragged last batches, in all and by group."""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import numpy as np
from clu.metrics import Average
from jax.experimental import multihost_utils

from mmjax.train.step import PREDICTED
from mmjax.types import GROUP, LABEL, MASK, UserError


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    metrics: the mean of each loss and metric, by NAME and NAME/GROUP.
    counts: how many examples each of these means is over.
    labels, predictions, groups: [examples] indices of classes and groups.
    """

    metrics: dict[str, float]
    counts: dict[str, int]
    labels: np.ndarray
    predictions: np.ndarray
    groups: np.ndarray


def to_host(tree):
    """Global arrays as numpy on every process."""
    if jax.process_count() > 1:
        return jax.tree.map(lambda x: multihost_utils.process_allgather(x, tiled=True), tree)
    return jax.device_get(tree)


def evaluate(
    eval_step: Callable, variables, batches: Iterable, put: Callable, split: str
) -> Evaluation:
    """Runs the split once.

    Args:
        eval_step: (variables, batch) -> (averages, predictions); see train.step.
        variables: the model's parameters and other collections.
        batches: batches of numpy arrays, the last ones padded under `_mask`.
        put: sends a batch to the devices.
        split: the split's name, for the error.

    Raises:
        UserError: the split holds no example.
    """
    averages: dict[str, Average] = {}
    rows = []
    for batch in batches:
        update, predicted = eval_step(variables, put(batch))
        for name, average in jax.device_get(update).items():
            # Float64 on the host: a sum over a large set keeps its last digits.
            exact = Average(np.float64(average.total), np.int64(average.count))
            averages[name] = averages[name].merge(exact) if name in averages else exact
        rows.append(to_host(predicted))
    averages = {name: average for name, average in averages.items() if average.count}
    if not averages:
        raise UserError(f"the {split} split holds no example; check config.data")
    kept = {k: np.concatenate([r[k][r[MASK]] for r in rows]) for k in (LABEL, GROUP, PREDICTED)}
    return Evaluation(
        metrics={name: float(average.compute()) for name, average in averages.items()},
        counts={name: int(average.count) for name, average in averages.items()},
        labels=kept[LABEL],
        predictions=kept[PREDICTED],
        groups=kept[GROUP],
    )
