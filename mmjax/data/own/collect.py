"""One pass over a table: what targets, splits and features need to know of all rows, as arrays."""

import array
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float64, Int32, Int64

from mmjax.data.columns import dates
from mmjax.data.columns.cells import CATEGORY, DATE, LABELS, NUMBER, TEXT
from mmjax.data.columns.infer import Column
from mmjax.data.sources.source import count_broken
from mmjax.data.tables import media
from mmjax.data.tables.table import Table, read_many
from mmjax.errors import UserError

ADVICE = "mend them, or see all of them with: python -m mmjax.prepare FILES --check"


BLOCK = 4096  # rows that are read at once


class Words(NamedTuple):
    """A column of words.

    codes: of each row, an index into `words`; -1 where it is empty.
    words: that occur, in the order of their first rows.
    """

    codes: Int32[np.ndarray, " rows"]
    words: tuple[str, ...]

    def counts(self, rows: Int64[np.ndarray, " some"] | None = None) -> dict[str, int]:
        """How often each word occurs in these rows, or in all."""
        codes = self.codes if rows is None else self.codes[rows]
        found = np.bincount(codes[codes >= 0], minlength=len(self.words))
        return {word: int(n) for word, n in zip(self.words, found, strict=True) if n}


class Lists(NamedTuple):
    """A column of several words.

    ends: of each row in `codes`.
    codes: of all rows, one after the other, indices into `words`.
    there: whether a row has a cell.
    words: that occur.
    """

    ends: Int64[np.ndarray, " rows"]
    codes: Int32[np.ndarray, " all"]
    there: np.ndarray
    words: tuple[str, ...]

    def counts(self, rows: Int64[np.ndarray, " some"] | None = None) -> dict[str, int]:
        """How many of these rows, or of all, have each word."""
        codes = self.codes
        if rows is not None:
            of_row = np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))
            codes = codes[np.isin(of_row, rows)]
        found = np.bincount(codes, minlength=len(self.words))
        return {word: int(n) for word, n in zip(self.words, found, strict=True) if n}


class _Collector(Protocol):
    def add(self, values: Sequence[Any]) -> None: ...

    def done(self) -> Any: ...


class _Numbers:
    def __init__(self, convert: Callable[[Any], float] = float):
        self._found, self._convert = array.array("d"), convert

    def add(self, values: Sequence[Any]) -> None:
        convert = self._convert
        self._found.extend([np.nan if value is None else convert(value) for value in values])

    def done(self) -> Float64[np.ndarray, " rows"]:
        return np.array(self._found)


class _Words:
    def __init__(self):
        self._codes, self._numbers = array.array("i"), {}

    def add(self, values: Sequence[Any]) -> None:
        known = self._numbers
        for value in dict.fromkeys(values):
            if value is not None:
                known.setdefault(value, len(known))
        self._codes.extend([-1 if value is None else known[value] for value in values])

    def done(self) -> Words:
        return Words(np.array(self._codes, np.int32), tuple(self._numbers))


class _Lists:
    def __init__(self):
        self._codes, self._numbers = array.array("i"), {}
        self._ends, self._there = array.array("q"), array.array("b")

    def add(self, values: Sequence[Any]) -> None:
        known = self._numbers
        for value in values:
            self._codes.extend(known.setdefault(word, len(known)) for word in value or ())
            self._ends.append(len(self._codes))
            self._there.append(value is not None)

    def done(self) -> Lists:
        codes, ends = np.array(self._codes, np.int32), np.array(self._ends, np.int64)
        return Lists(ends, codes, np.array(self._there, bool), tuple(self._numbers))


class _Texts:
    def __init__(self):
        self._found: list[str | None] = []

    def add(self, values: Sequence[Any]) -> None:
        self._found.extend(values)

    def done(self) -> list[str | None]:
        return self._found


class _Names:
    """A number for each path, 0 for what has none; equal paths have equal ones, in this process."""

    def __init__(self):
        self._found = array.array("q")

    def add(self, values: Sequence[Any]) -> None:
        self._found.extend([hash(value) if isinstance(value, str) else 0 for value in values])

    def done(self) -> Int64[np.ndarray, " rows"]:
        return np.array(self._found, np.int64)


_COLLECTORS: Mapping[str, Callable[[], _Collector]] = {
    NUMBER: _Numbers,
    DATE: lambda: _Numbers(dates.days),
    CATEGORY: _Words,
    LABELS: _Lists,
    TEXT: _Texts,
    **dict.fromkeys(media.ENDINGS, _Names),
}
KINDS = tuple(_COLLECTORS)


class Collected(NamedTuple):
    """What one pass found.

    columns: by name: numbers and dates (days) float64 [rows], NaN where empty; Words; Lists; texts,
        None where empty; of paths a number for each.
    broken: index -> error of the rows that cannot be read or hold a cell of another type; they are
        empty in all columns.
    """

    columns: dict[str, Any]
    broken: dict[int, str]


def collect(table: Table, wanted: Mapping[str, Column]) -> Collected:
    """Reads some columns of all rows once.

    Args:
        table: any.
        wanted: by the names that they get in the result, columns of types in KINDS.

    Raises:
        UserError: over 1 % of the rows are broken.
    """
    columns = list(wanted.values())
    names = list(dict.fromkeys(column.name for column in columns))
    collectors = [_COLLECTORS[column.type]() for column in columns]
    broken: dict[int, str] = {}
    for start in range(0, len(table), BLOCK):
        rows = range(start, min(start + BLOCK, len(table)))
        try:
            cells = read_many(table, rows, names)
            found = [column.parse_all(cells[column.name]) for column in columns]
        except (UserError, ValueError):
            found = _one_by_one(table, rows, columns, names, broken)
        for column, values, collector in zip(columns, found, collectors, strict=True):
            if column.type in media.ENDINGS:
                values = [_path(table, *pair) for pair in zip(rows, values, strict=True)]
            collector.add(values)
    made = {name: c.done() for name, c in zip(wanted, collectors, strict=True)}
    return Collected(made, broken)


def _one_by_one(
    table: Table,
    rows: Sequence[int],
    columns: Sequence[Column],
    names: Sequence[str],
    broken: dict[int, str],
) -> list[list[Any]]:
    """What the cells of rows hold, by column; broken rows are counted, and empty."""
    found = []
    for index in rows:
        try:
            found.append(row_of(table, index, columns, names))
        except UserError as error:
            count_broken(
                broken, index, str(error), name=table.name, total=len(table), advice=ADVICE
            )
            found.append([None] * len(columns))
    return [list(column) for column in zip(*found, strict=True)]


def _path(table: Table, index: int, value: Any) -> Any:
    """The same path for the same file, whatever it is relative to."""
    if not isinstance(value, str):
        return value
    return os.path.normpath(os.path.join(table.folder(index), value))


def row_of(table: Table, index: int, columns: Sequence[Column], names: Sequence[str]) -> list[Any]:
    """What the cells of a row hold, by columns.

    Raises:
        UserError: the row is broken, or a cell is not of its type; the line says where.
    """
    row = table.read(index, names)
    values = []
    for column in columns:
        try:
            values.append(column.parse(row[column.name]))
        except ValueError as error:
            raise UserError(f"{table.where(index)}: {column.name!r}: {error}") from error
    return values
