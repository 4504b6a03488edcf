"""The contract of a task."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from mmjax.types import Batch, Input

Outputs = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Task:
    """Pure functions between a batch and a model.

    inputs: batch -> the model's inputs, by modality.
    losses: (outputs, batch) -> one value for each example [B], by name.
    metrics: (outputs, batch) -> one value for each example [B], by name.
    predict: outputs -> what a user wants to see, [B ...] arrays by name.
    """

    inputs: Callable[[Batch], dict[str, Input]]
    losses: Callable[[Outputs, Batch], dict[str, jax.Array]]
    metrics: Callable[[Outputs, Batch], dict[str, jax.Array]]
    predict: Callable[[Outputs], dict[str, Any]]


def modality_inputs(batch: Batch, modalities: tuple[str, ...]) -> dict[str, Input]:
    """The inputs of a batch by its keys: NAME, NAME_mask and NAME_index (see types)."""
    return {
        name: Input(batch[name], batch.get(f"{name}_mask"), batch.get(f"{name}_index"))
        for name in modalities
    }
