"""Rows of a table, decoded when they are needed -> batches."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from mmjax.data.columns.infer import Column
from mmjax.data.own.cache import Cache
from mmjax.data.own.collect import ADVICE, BLOCK
from mmjax.data.own.inputs import Wanted
from mmjax.data.pipeline.scaling import Scale
from mmjax.data.sources.source import count_broken
from mmjax.data.sources.targets import Target, target_rows
from mmjax.data.tables.table import Table, read_many
from mmjax.errors import UserError
from mmjax.types import MASK, SLICE, Input

_BLANK: dict[str, Any] = {"position": None, "parsed": {}}  # an example that is none
Reader = Callable[[Any], Input]  # one value or None for each row -> arrays of one shape


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
        cache: of decoded files; None: they are decoded each time.
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
    cache: Cache | None = None
    broken: dict[int, str] = dataclasses.field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    def parse(self, position: int, modalities: Sequence[str]) -> dict[str, Any]:
        """What the cells of a row hold, by modality; None where they are empty.

        Raises:
            UserError: the row is broken; the line says where.
        """
        index = int(self.rows[position])
        wanted = {name: self.inputs[name] for name in modalities}
        names = dict.fromkeys(column.name for w in wanted.values() for column in w.columns)
        row = self.table.read(index, list(names))
        folder = self.table.folder(index)
        try:
            return {name: w.parse(row, folder) for name, w in wanted.items()}
        except (ValueError, UserError) as error:
            raise UserError(f"{self.table.where(index)}: {error}") from error

    def texts(self, modality: str) -> Iterator[str]:
        """The texts of all rows, of which a tokenizer is made; broken rows have none."""
        (column,) = self.inputs[modality].columns
        for start in range(0, len(self), BLOCK):
            positions = range(start, min(start + BLOCK, len(self)))
            try:
                cells = read_many(self.table, self.rows[positions].tolist(), [column.name])
                found = column.parse_all(cells[column.name])
            except (UserError, ValueError):
                found = [self._text(position, modality) for position in positions]
            yield from (text for text in found if text is not None)

    def _text(self, position: int, modality: str) -> str | None:
        try:
            return self.parse(position, (modality,))[modality]
        except UserError:
            return None  # it is counted when the row is used


class TableExamples:
    """Makes the rows and batches of a split, one example a row; see pipeline.loader.Examples.

    Keys are those of `sources.arrays.ArrayExamples`. A cell that is empty is a modality that the
    row lacks (NAME_mask), or a target that is not known (targets/NAME_mask). Files are decoded row
    by row, so that threads share the work; all else is read for a whole batch. A row that cannot be
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
        # Those whose rows are decoded one by one.
        self._files = {name for name in readers if split.inputs[name].has_files}

    def train_length(self) -> int:
        """Examples of an epoch."""
        return len(self._split)

    eval_length = train_length

    def train_row(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Example `index`; nothing is random."""
        del rng
        return self.eval_row(index)

    def eval_row(self, position: int) -> dict[str, Any]:
        """The example at `position`; a blank one behind the end, or if it is broken."""
        if position >= len(self._split):
            return _BLANK
        with self._counting(position):
            found = self._split.parse(position, tuple(self._readers))
            for name in self._files:
                if found[name] is not None:
                    found[name] = self._decoded(name, position, found[name])
            return {"position": position, "parsed": found}
        return _BLANK

    def _decoded(self, name: str, position: int, value: Any) -> Input:
        read, cache = self._readers[name], self._split.cache
        if cache is None:
            return read([value])
        return cache.get((self.name, position, read), lambda: read([value]))

    @contextlib.contextmanager
    def _counting(self, position: int) -> Iterator[None]:
        """Counts the row as broken if what is done within fails."""
        try:
            yield
        except MemoryError:
            raise
        # Decoders are open-ended, and so is what they raise. Nothing is lost: the error is counted
        # and logged, and repeated when it is not a matter of single rows.
        except Exception as error:  # noqa: BLE001
            self._count(position, error)

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
        try:
            inputs = self._inputs(chosen)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - it is raised again if it is not a matter of single rows
            chosen = [self._checked(row) for row in chosen]
            inputs = self._inputs(chosen)
        positions = [row["position"] for row in chosen]
        real = np.array([position is not None for position in positions])
        index = np.array([position or 0 for position in positions])
        split = self._split
        batch = {SLICE: np.where(real, split.slice_ids[index], 0).astype(np.int32), MASK: real}
        batch |= target_rows(split.targets, index, real)
        for name, found in inputs.items():
            batch[name], batch[f"{name}_mask"] = found.value, found.mask
        return batch

    def _checked(self, row: dict[str, Any]) -> dict[str, Any]:
        """An example, or a blank one, counted, if a reader refuses it."""
        if row["position"] is None:
            return row
        with self._counting(row["position"]):
            self._inputs([row])
            return row
        return _BLANK

    def _inputs(self, chosen: Sequence[dict[str, Any]]) -> dict[str, Input]:
        """What readers make of the rows of a batch, by modality."""
        inputs = {}
        for name, read in self._readers.items():
            parsed = [row["parsed"].get(name) for row in chosen]
            if name in self._files:
                rows = [self._blank[name] if found is None else found for found in parsed]
                value = np.concatenate([row.value for row in rows])
                inputs[name] = Input(value, np.concatenate([row.mask for row in rows]))
            else:
                inputs[name] = read(self._split.inputs[name].together(parsed))
        return inputs
