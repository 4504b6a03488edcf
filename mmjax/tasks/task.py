"""The contract of a task."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mmjax.tasks.bound import BATCH, Bound, named
from mmjax.types import GROUP, LABEL, MASK, Batch, Input, Rows

Outputs = Mapping[str, jax.Array]
KEPT = (BATCH + LABEL, BATCH + GROUP, BATCH + MASK)  # of every evaluation


@dataclasses.dataclass(frozen=True)
class Task:
    """Pure functions between a batch and a model.

    inputs: batch -> the model's inputs, by modality.
    losses: (outputs, batch) -> one value for each row, by name.
    metrics: (outputs, batch) -> one value for each row, by name.
    predict: outputs -> what a user wants to see, [B ...] arrays by name.
    keep: (outputs, batch) -> what `whole_set` and reports read of each row, by name (see bound).
    whole_set: on the host, what was kept of all rows and what was tuned -> metrics that no mean
        over rows gives, by name.
    tune: on the host, what was kept of the validation split -> what later predictions use.
    """

    inputs: Callable[[Batch], dict[str, Input]]
    losses: Callable[[Outputs, Batch], dict[str, Rows]]
    metrics: Callable[[Outputs, Batch], dict[str, Rows]]
    predict: Callable[[Outputs], dict[str, Any]]
    keep: Callable[[Outputs, Batch], dict[str, jax.Array]]
    whole_set: Callable[[Mapping[str, np.ndarray]], dict[str, float]]
    tune: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] = lambda _: {}


def modality_inputs(batch: Batch, modalities: tuple[str, ...]) -> dict[str, Input]:
    """The inputs of a batch by its keys: NAME, NAME_mask, NAME_index and NAME_id (see types)."""
    return {
        name: Input(batch[name], *(batch.get(f"{name}_{part}") for part in ("mask", "index", "id")))
        for name in modalities
    }


def make_task(
    *,
    modalities: tuple[str, ...],
    predict: Callable[[Outputs], dict[str, Any]],
    losses: Mapping[str, Bound],
    metrics: Mapping[str, Bound],
    whole_set: Mapping[str, Bound],
    keep: tuple[str, ...] = (),
    tune: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] = lambda _: {},
) -> Task:
    """A task whose losses and metrics say themselves what they read.

    Args:
        modalities: the names of the inputs that the model is given.
        predict: outputs -> predictions.
        losses, metrics, whole_set: by name.
        keep: names of what is kept of an evaluation besides what `whole_set` reads.
        tune: see Task.
    """

    def apply(functions: Mapping[str, Bound], outputs: Outputs, batch: Batch) -> dict[str, Rows]:
        values = named(outputs, batch, predict(outputs))
        return {name: function(values) for name, function in functions.items()}

    def kept(outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        values = named(outputs, batch, predict(outputs))
        for function in whole_set.values():
            function.arrays(values)  # an unknown name is an error
        names = [*KEPT, *keep, *(n for f in whole_set.values() for n in f.kept())]
        return {name: values[name] for name in dict.fromkeys(names) if name in values}

    def of_the_whole_set(rows: Mapping[str, np.ndarray]) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, function in whole_set.items():
            found |= function.on_host(name, rows)
        return found

    return Task(
        inputs=lambda batch: modality_inputs(batch, modalities),
        losses=lambda outputs, batch: apply(losses, outputs, batch),
        metrics=lambda outputs, batch: apply(metrics, outputs, batch),
        predict=predict,
        keep=kept,
        whole_set=of_the_whole_set,
        tune=tune,
    )
