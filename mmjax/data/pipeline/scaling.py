"""Features on one scale: less their mean in training, over their standard deviation there.

What a model sees of a vector or a series does so not depend on the units of its columns.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num

from mmjax.data.pipeline.checks import beside
from mmjax.errors import UserError

Rows = Num[np.ndarray, "n ..."] | Bool[np.ndarray, "n ..."]
_ROWS = 2**16  # rows that are added up at once


class Scale(NamedTuple):
    """Of each feature the mean and the standard deviation, float64; 1 of what does not vary."""

    mean: Float[np.ndarray, "F ..."]
    deviation: Float[np.ndarray, "F ..."]

    def apply(self, values: Rows, mask: Bool[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
        """(values - mean) / deviation as float32, and 0 where the mask is False."""
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = (values - self.mean) / self.deviation
            return np.where(beside(mask, values), scaled, 0).astype(np.float32)


def measure(values: Rows, mask: Bool[np.ndarray, "n ..."], feature_axes: int = 1) -> Scale:
    """The scale of what is there; mean 0 and deviation 1 of a feature that never is.

    Args:
        values: rows; all axes but the last `feature_axes` are those that features are seen along.
        mask: what is there, of the first axes of the values.
        feature_axes: how many axes features have: all but the rows of a vector, all but the rows
            and steps of a series.
    """
    seen = tuple(range(values.ndim - feature_axes))
    shape = values.shape[len(seen) :]
    count, total, squares = (np.zeros(shape) for _ in range(3))
    blocks = [slice(start, start + _ROWS) for start in range(0, len(values), _ROWS)]
    for rows in blocks:
        there = np.broadcast_to(beside(mask[rows], values), values[rows].shape)
        count += there.sum(axis=seen)
        total += np.sum(values[rows], axis=seen, where=there, dtype=np.float64)
    mean = total / np.maximum(count, 1)
    for rows in blocks:  # in a second pass: the difference of large sums would lose its digits
        there = np.broadcast_to(beside(mask[rows], values), values[rows].shape)
        squares += np.sum((values[rows] - mean) ** 2, axis=seen, where=there)
    deviation = np.sqrt(squares / np.maximum(count, 1))
    # The mean of equal numbers is off by rounding, which is no variation.
    constant = deviation <= 64 * np.finfo(np.float64).eps * np.abs(mean)
    return Scale(mean, np.where(constant, 1.0, deviation))


def write(path: Path, scales: Mapping[str, Scale]) -> None:
    """Stores scales as JSON, by modality, whole or not at all."""
    stored = {
        name: {key: array.tolist() for key, array in scale._asdict().items()}
        for name, scale in scales.items()
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(stored) + "\n")
    part.replace(path)


def read(path: Path) -> dict[str, Scale]:
    """What `write` stored; none where there is no file, as of runs that scaled nothing.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        stored = json.loads(path.read_text())
        return {
            name: Scale(*(np.asarray(scale[key], np.float64) for key in Scale._fields))
            for name, scale in stored.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} holds no scales: {error!r}; restore it, or train anew") from error
