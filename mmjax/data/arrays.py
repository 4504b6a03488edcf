"""Data sets that fit in memory: any modalities as arrays, and a label for each example."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax.types import GROUP, LABEL, MASK, UserError


@dataclasses.dataclass(frozen=True)
class Arrays:
    """One split of a data set in memory.

    Attributes:
        name: for messages, such as "controlled/train".
        values: by modality, [rows ...]: what the encoder of that modality takes.
        masks: by modality, bool [rows ...]: what is there of it (see types.Input).
        index: by modality, int [examples]: the row that each example uses, for modalities whose
            rows serve several examples. Without an entry example i uses row i.
        absent: by modality, bool [examples]: True for the examples that lack it all the same.
        labels: int [examples], indices into `answers`.
        kinds: int [examples], indices into `groups`.
        answers: the class names in the order of the labels.
        groups: the kinds of example; metrics are also reported by group.

    Raises:
        UserError: arrays of different lengths, or modalities without a mask.
    """

    name: str
    values: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    labels: np.ndarray
    kinds: np.ndarray
    answers: tuple[str, ...]
    groups: tuple[str, ...]
    index: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    absent: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.values.keys() != self.masks.keys():
            raise UserError(
                f"{self.name}: values of {sorted(self.values)} but masks of {sorted(self.masks)}:"
                " give one mask a modality"
            )
        for name, value in self.values.items():
            if len(value) != len(self.masks[name]):
                raise UserError(
                    f"{self.name}: {len(value)} rows of {name!r} but {len(self.masks[name])} masks"
                )
        arrays = {"labels": self.labels, "kinds": self.kinds}
        arrays |= {name: self.index.get(name, value) for name, value in self.values.items()}
        arrays |= {f"absent {name}": there for name, there in self.absent.items()}
        sizes = {name: len(array) for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            raise UserError(f"{self.name}: arrays of different lengths: {sizes}")

    def __len__(self) -> int:
        return len(self.labels)


class ArrayExamples:
    """Makes the rows and batches of a split in memory, one example a row; see pipeline.Examples.

    A batch is a dict of NAME and NAME_mask for each modality, `label` and `group` int32 [B] and
    `_mask` bool [B].

    Args:
        arrays: the split.
        modalities: the keys that batches have.

    Raises:
        UserError: a modality that the split lacks.
    """

    def __init__(self, arrays: Arrays, modalities: Sequence[str]):
        unknown = [name for name in modalities if name not in arrays.values]
        if unknown or not modalities:
            known = ", ".join(arrays.values)
            raise UserError(f"{arrays.name}: modalities {modalities}: pass one or more of {known}")
        self._arrays, self._modalities = arrays, tuple(modalities)
        self.name = arrays.name

    def train_length(self) -> int:
        """Examples of an epoch."""
        return len(self._arrays)

    eval_length = train_length

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Example `index`; nothing is random."""
        del rng
        return self.take(index)

    def take(self, position: int) -> dict[str, Any]:
        """The example at `position`; a blank one behind the end."""
        return {"position": position if position < len(self._arrays) else None}

    def batch(self, chosen: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Gathers the examples of a batch."""
        positions = [row["position"] for row in chosen]
        real = np.array([position is not None for position in positions])
        index = np.array([position or 0 for position in positions])

        arrays = self._arrays

        def gather(array: np.ndarray, name: str = "") -> np.ndarray:
            rows = array[arrays.index[name][index] if name in arrays.index else index]
            rows[~real] = 0
            return rows

        batch = {LABEL: gather(arrays.labels), GROUP: gather(arrays.kinds)}
        batch = {key: array.astype(np.int32) for key, array in batch.items()} | {MASK: real}
        for name in self._modalities:
            batch[name] = gather(arrays.values[name], name)
            batch[f"{name}_mask"] = gather(arrays.masks[name], name)
            if name in arrays.absent:
                batch[f"{name}_mask"][arrays.absent[name][index]] = False
        return batch
