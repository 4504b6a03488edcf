"""Rows of a table, decoded when they are needed -> batches."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from mmjax.data.columns.infer import Column
from mmjax.data.own.collect import ADVICE
from mmjax.data.own.inputs import Wanted
from mmjax.data.pipeline.scaling import Scale
from mmjax.data.sources.source import count_broken
from mmjax.data.sources.targets import Target, target_rows
from mmjax.data.tables.table import Table
from mmjax.errors import UserError
from mmjax.types import MASK, SLICE, Input

Reader = Callable[[Sequence[Any]], Input]  # one value or None for each row -> arrays of one shape


@dataclasses.dataclass(frozen=True)
class TableSplit:
    """Some rows of a table: the inputs that are read of each, and what is asked.

    Attributes:
        name: for messages, such as "photos.csv/train".
        table: of all rows.
        rows: of this split.
        inputs: by modality.
        targets: by name, of the rows of this split.
        slice_ids: of each row, an index into `slices`.
        slices: the names of the slices; metrics are also reported by slice.
        columns: all of the table, as they were guessed or told.
        scales: of vectors and series, by modality, measured on the rows of training.
        broken: row of the table -> error of those found broken so far, in this process.
    """

    name: str
    table: Table
    rows: Int64[np.ndarray, " rows"]
    inputs: Mapping[str, Wanted]
    targets: Mapping[str, Target]
    slice_ids: Int32[np.ndarray, " rows"]
    slices: tuple[str, ...] = ("all",)
    columns: Mapping[str, Column] = dataclasses.field(default_factory=dict)
    scales: Mapping[str, Scale] = dataclasses.field(default_factory=dict)
    broken: dict[int, str] = dataclasses.field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    def values(self, position: int, modalities: Sequence[str]) -> dict[str, Any]:
        """What readers take of a row, by modality; None where it is empty.

        Raises:
            UserError: the row is broken; the line says where.
        """
        index = int(self.rows[position])
        wanted = {name: self.inputs[name] for name in modalities}
        names = dict.fromkeys(column.name for w in wanted.values() for column in w.columns)
        row = self.table.read(index, list(names))
        folder = self.table.folder(index)
        try:
            return {name: w.value(row, folder) for name, w in wanted.items()}
        except (ValueError, UserError) as error:
            raise UserError(f"{self.table.where(index)}: {error}") from error

    def texts(self, modality: str) -> Iterator[str]:
        """The texts of all rows, of which a tokenizer is made; broken rows have none."""
        for position in range(len(self)):
            try:
                text = self.values(position, (modality,))[modality]
            except UserError:
                continue  # it is counted when the row is used
            if text is not None:
                yield text


class TableExamples:
    """Makes the rows and batches of a split, one example a row; see pipeline.loader.Examples.

    Keys are those of `sources.arrays.ArrayExamples`. A cell that is empty is a modality that the
    row lacks (NAME_mask), or a target that is not known (targets/NAME_mask). A row that cannot be
    read or decoded is blank, False in `_mask`, and counted as a broken record of a Source is: over
    1 % of the split is an error.

    Args:
        split: the rows.
        readers: by modality, what decodes its values; each gives rows of one shape. As they may
            go to worker processes, they can be pickled.

    Raises:
        UserError: no reader, or one of a modality that the split lacks.
    """

    def __init__(self, split: TableSplit, readers: Mapping[str, Reader]):
        unknown = sorted(set(readers) - set(split.inputs))
        if unknown or not readers:
            known = ", ".join(split.inputs)
            raise UserError(f"{split.name}: modalities {unknown}: pass one or more of {known}")
        self._split, self._readers = split, dict(readers)
        self.name = split.name
        self._blank = {name: read([None]) for name, read in self._readers.items()}

    def train_length(self) -> int:
        """Examples of an epoch."""
        return len(self._split)

    eval_length = train_length

    def train_row(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Example `index`; nothing is random."""
        del rng
        return self.eval_row(index)

    def eval_row(self, position: int) -> dict[str, Any]:
        """The decoded example at `position`; a blank one behind the end, or if it is broken."""
        blank = {"position": None, "inputs": self._blank}
        if position >= len(self._split):
            return blank
        try:
            values = self._split.values(position, tuple(self._readers))
            inputs = {
                name: self._blank[name] if values[name] is None else read([values[name]])
                for name, read in self._readers.items()
            }
        except MemoryError:
            raise
        # Decoders are open-ended, and so is what they raise. Nothing is lost: the error is counted
        # and logged, and repeated when it is not a matter of single rows.
        except Exception as error:  # noqa: BLE001
            self._count(position, error)
            return blank
        return {"position": position, "inputs": inputs}

    def _count(self, position: int, error: Exception) -> None:
        split = self._split
        index = int(split.rows[position])
        place, said = split.table.where(index), str(error)
        said = said if isinstance(error, UserError) else f"{type(error).__name__}: {said}"
        said = said if place in said else f"{place}: {said}"
        total = len(split)
        count_broken(split.broken, index, said, name=split.name, total=total, advice=ADVICE)

    def batch(self, chosen: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Puts the examples of a batch together."""
        positions = [row["position"] for row in chosen]
        real = np.array([position is not None for position in positions])
        index = np.array([position or 0 for position in positions])
        split = self._split
        batch = {SLICE: np.where(real, split.slice_ids[index], 0).astype(np.int32), MASK: real}
        batch |= target_rows(split.targets, index, real)
        for name in self._readers:
            rows = [row["inputs"][name] for row in chosen]
            batch[name] = np.concatenate([row.value for row in rows])
            batch[f"{name}_mask"] = np.concatenate([row.mask for row in rows])
        return batch
