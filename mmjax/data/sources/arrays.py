"""Data sets that fit in memory: any modalities as arrays or texts, and what is asked about them."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from mmjax.data.pipeline import checks
from mmjax.data.pipeline.examples import Encode
from mmjax.data.pipeline.scaling import Scale
from mmjax.data.sources.targets import Target, target_rows
from mmjax.errors import UserError
from mmjax.types import MASK, SLICE


@dataclasses.dataclass(frozen=True)
class Arrays:
    """One split of a data set in memory.

    Attributes:
        name: for messages, such as "controlled/train".
        values: by modality, [rows ...]: what the encoder of that modality takes, finite where the
            mask is True.
        masks: by modality, bool [rows ...]: what is there of it (see types.Input), over the first
            axes of the values.
        texts: by modality, a string for each row: what a tokenizer makes the values and masks of.
        index: by modality, int [examples]: the row that each example uses, for modalities whose
            rows serve several examples. Without an entry example i uses row i.
        absent: by modality, bool [examples]: True for the examples that lack it all the same.
        ids: by modality, int [rows], from 1: rows of equal numbers have equal content.
        targets: by name, what the examples are asked for.
        slice_ids: int [examples], indices into `slices`.
        slices: the names of the slices of examples; metrics are also reported by slice.

    Raises:
        UserError: arrays of different lengths, other types or shapes, modalities without a mask,
            ids of one that is not there, an index out of its range, or a number that is not finite.
    """

    name: str
    values: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    targets: Mapping[str, Target]
    slice_ids: np.ndarray
    slices: tuple[str, ...]
    index: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    absent: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    texts: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    ids: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.values.keys() != self.masks.keys():
            raise UserError(
                f"{self.name}: values of {sorted(self.values)} but masks of {sorted(self.masks)}:"
                " give one mask a modality"
            )
        self._check_types()
        for name, value in self.values.items():
            if len(value) != len(self.masks[name]):
                raise UserError(
                    f"{self.name}: {len(value)} rows of {name!r} but {len(self.masks[name])} masks"
                )
        both = sorted(self.values.keys() & self.texts.keys())
        if both:
            raise UserError(f"{self.name}: {both} are values and texts: give one of them")
        rows = {**self.values, **self.texts}
        for name, numbers in self.ids.items():
            if name not in rows or len(numbers) != len(rows[name]):
                count = f"{len(rows[name])} rows" if name in rows else "no rows"
                raise UserError(f"{self.name}: {len(numbers)} ids but {count} of {name!r}")
        arrays = {"slice_ids": self.slice_ids}
        arrays |= {name: self.index.get(name, value) for name, value in rows.items()}
        arrays |= {f"absent {name}": there for name, there in self.absent.items()}
        sizes = {name: len(array) for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            raise UserError(f"{self.name}: arrays of different lengths: {sizes}")
        self._check_contents(rows)

    def _check_types(self) -> None:
        for name, value in self.values.items():
            checks.check_array(self.name, repr(name), value, "biuf")
            checks.check_array(self.name, f"the mask of {name!r}", self.masks[name], "b")
        checks.check_array(self.name, "slice_ids", self.slice_ids, "iu", axes=1)
        for part in ("index", "ids", "absent"):
            for name, array in getattr(self, part).items():
                kinds = "b" if part == "absent" else "iu"
                checks.check_array(self.name, f"{part} of {name!r}", array, kinds, axes=1)

    def _check_contents(self, rows: Mapping[str, Any]) -> None:
        for name, value in self.values.items():
            checks.check_values(self.name, name, value, self.masks[name])
        for name, texts in self.texts.items():
            checks.check_texts(self.name, name, texts)
        checks.check_indices(self.name, "slice", self.slice_ids, "slices", len(self.slices))
        for name, target in self.targets.items():
            target.check(self.name, name, len(self))
        for name, numbers in self.index.items():
            if name not in rows:
                raise UserError(f"{self.name}: an index of {name!r}, which is not there")
            what = f"index of {name!r}"
            checks.check_indices(self.name, what, numbers, f"rows of {name!r}", len(rows[name]))

    def __len__(self) -> int:
        return len(self.slice_ids)

    def example_texts(self, name: str) -> list[str]:
        """The text of each example under a name of `texts`."""
        rows = self.texts[name]
        return [rows[i] for i in self.index[name]] if name in self.index else list(rows)

    def renamed(self, columns: Mapping[str, str]) -> "Arrays":
        """The split in which some modalities are what the columns of these names are.

        Raises:
            UserError: there is no such column.
        """
        known = (*self.values, *self.texts)
        for name, column in columns.items():
            if column not in known:
                raise UserError(
                    f"{self.name}: no column {column!r} for {name!r}; there is {', '.join(known)}"
                )
        taken = {*columns.values()} - {*columns}

        def named(part: Mapping[str, Any]) -> dict[str, Any]:
            rest = {name: value for name, value in part.items() if name not in taken}
            return rest | {n: part[column] for n, column in columns.items() if column in part}

        parts = ("values", "masks", "texts", "index", "absent", "ids")
        return dataclasses.replace(self, **{part: named(getattr(self, part)) for part in parts})

    def with_targets(self, targets: Mapping[str, Target]) -> "Arrays":
        """The split with these targets; texts that are targets are no inputs any more."""

        def rest(part: Mapping[str, Any]) -> dict[str, Any]:
            gone = self.texts.keys() & targets.keys()
            return {name: value for name, value in part.items() if name not in gone}

        parts = ("texts", "index", "ids", "absent")
        kept = {part: rest(getattr(self, part)) for part in parts}
        return dataclasses.replace(self, targets=dict(targets), **kept)


class ArrayExamples:
    """Makes the rows and batches of a split in memory, one example a row; see pipeline.Examples.

    A batch is a dict of NAME and NAME_mask for each modality, NAME_id int32 [B] for those with ids
    (0 where it is absent), `targets/NAME` [B ...] and `targets/NAME_mask` for each target that is
    no string, `slice` int32 [B] and `_mask` bool [B].

    Args:
        arrays: the split.
        modalities: the keys that batches have.
        encode: by modality, texts -> (ids int32 [n L], mask bool [n L]).
        scales: by modality, of those whose values are scaled; see mmjax.data.pipeline.scaling.

    Raises:
        UserError: a modality that the split lacks, or texts and nothing to encode them.
    """

    def __init__(
        self,
        arrays: Arrays,
        modalities: Sequence[str],
        encode: Mapping[str, Encode] = MappingProxyType({}),
        scales: Mapping[str, Scale] = MappingProxyType({}),
    ):
        known = (*arrays.values, *arrays.texts)
        if not modalities or not set(modalities) <= set(known):
            names = ", ".join(known)
            raise UserError(f"{arrays.name}: modalities {modalities}: pass one or more of {names}")
        self._arrays, self._modalities = arrays, tuple(modalities)
        self._values, self._masks = dict(arrays.values), dict(arrays.masks)
        for name in arrays.texts.keys() & set(modalities):
            if name not in encode:
                raise UserError(f"{arrays.name}: {name!r} is text: pass what encodes it")
            self._values[name], self._masks[name] = encode[name](arrays.texts[name])
        self._scales = scales
        self.name = arrays.name

    def train_length(self) -> int:
        """Examples of an epoch."""
        return len(self._arrays)

    eval_length = train_length

    def train_row(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Example `index`; nothing is random."""
        del rng
        return self.eval_row(index)

    def eval_row(self, position: int) -> dict[str, Any]:
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

        batch = {SLICE: gather(arrays.slice_ids).astype(np.int32), MASK: real}
        batch |= target_rows(arrays.targets, index, real)
        for name in self._modalities:
            values, mask = gather(self._values[name], name), gather(self._masks[name], name)
            if name in self._scales:
                values = self._scales[name].apply(values, mask)
            elif values.dtype.kind == "f":
                values[~np.isfinite(values)] = 0  # masked, or the split would have been refused
            batch[name], batch[f"{name}_mask"] = values, mask
            if name in arrays.ids:
                batch[f"{name}_id"] = gather(arrays.ids[name], name).astype(np.int32)
            if name in arrays.absent:
                for key in {f"{name}_mask", f"{name}_id"} & batch.keys():
                    batch[key][arrays.absent[name][index]] = 0
        return batch
