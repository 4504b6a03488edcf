"""What a table is: named columns, and rows of cells by their number."""

import bisect
import datetime
import decimal
import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mmjax.errors import UserError, nearest

# A cell: str, int, float, bool, bytes (of a file), list, dict or numpy array; None if it is empty.
Cell = Any
Row = dict[str, Cell]

# Columns that formats make by themselves: the path of a file, its class, its split.
FILE, LABEL, SPLIT = "file", "label", "split"
# What folders and cells call the splits.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
}
RUNS = 20  # of rows that are looked at to know a table
_EMPTY = ("NAType", "NaTType")  # what pandas has for an empty cell, besides NaN
_logger = logging.getLogger(__name__)


@runtime_checkable
class Table(Protocol):
    """Rows by random access; no more of them is in memory than where each of them begins.

    A table can be pickled and may be read by several threads at once.

    name: for messages.
    columns: their names; no two are equal.
    """

    name: str
    columns: tuple[str, ...]

    def __len__(self) -> int:
        """The number of rows, broken ones included."""
        ...

    def read(self, index: int, columns: Sequence[str] | None = None) -> Row:
        """The cells of a row, of all columns or of these.

        Raises:
            UserError: the row is broken; the line says where.
        """
        ...

    def where(self, index: int) -> str:
        """The place of a row, such as "train.csv, line 17"."""
        ...

    def folder(self, index: int) -> str:
        """Where relative paths in a row begin; "" for the working directory."""
        ...


@runtime_checkable
class ByColumns(Table, Protocol):
    """A table that reads many rows faster than one by one."""

    def read_many(self, indices: Sequence[int], columns: Sequence[str]) -> dict[str, list[Cell]]:
        """The cells of these rows, by column; see `read_many`."""
        ...


def read_many(
    table: Table, indices: Sequence[int], columns: Sequence[str]
) -> dict[str, list[Cell]]:
    """The cells of some rows, by column.

    Raises:
        UserError: one of the rows is broken; reading them one by one says which are.
    """
    if isinstance(table, ByColumns):
        return table.read_many(indices, columns)
    rows = [table.read(index, columns) for index in indices]
    return {name: [row[name] for row in rows] for name in columns}


def asked(table: Table, index: int, columns: Sequence[str] | None) -> Sequence[str]:
    """The columns that are to be read of a row that there is.

    Raises:
        IndexError: no such row.
        UserError: no such column.
    """
    if not 0 <= index < len(table):
        raise IndexError(f"{table.name}: row {index} of {len(table)}")
    if columns is None:
        return table.columns
    for name in columns:
        if name not in table.columns:
            raise UserError(f"{table.name}: no column {name!r}; {nearest(name, table.columns)}")
    return columns


def different(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Names of columns, each once: a second "a" becomes "a (2)", an empty one "column 3".

    Args:
        names: as they stand in a file; spaces around them are dropped.
        where: they stand, for the warning.
    """
    found: list[str] = []
    for place, name in enumerate(names, start=1):
        name = wanted = name.strip() or f"column {place}"
        count = 1
        while wanted in found:
            count += 1
            wanted = f"{name} ({count})"
        if wanted != name:
            _logger.warning("%s: a second column %r; it is called %r", where, name, wanted)
        found.append(wanted)
    return tuple(found)


def plain(value: Any) -> Cell:
    """A value of another library as a cell; NaN and what pandas has for nothing are empty."""
    if type(value) is str:  # as most are
        return value or None
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ in _EMPTY or (isinstance(value, str) and not value):
        return None
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping) and value.keys() == {"bytes", "path"}:  # of Hugging Face datasets
        return value["bytes"] if value["bytes"] is not None else value["path"]
    return value


def spread(rows: int, wanted: int) -> list[int]:
    """About so many of the rows, in their order: short runs all over the table.

    Runs, since rows that lie side by side often come out of one group of a file, which is read as a
    whole.
    """
    if rows <= wanted:
        return list(range(rows))
    runs = min(RUNS, wanted)
    length = wanted // runs
    starts = np.linspace(0, rows - length, runs).astype(int).tolist()
    return sorted({start + step for start in starts for step in range(length)})


class Joined:
    """Several tables, one after the other; a column that one of them lacks is empty there."""

    def __init__(self, tables: Sequence[Table]):
        self._tables = tuple(tables)
        self._ends = list(itertools.accumulate(map(len, tables)))
        self.columns = tuple(dict.fromkeys(c for table in tables for c in table.columns))
        self.name = f"{tables[0].name} and {len(tables) - 1} more"
        for table in tables:
            lacking = [name for name in self.columns if name not in table.columns]
            if lacking:
                some = ", ".join(lacking[:5])
                _logger.warning("%s has no column %s; it is empty there", table.name, some)

    def __len__(self) -> int:
        return self._ends[-1]

    def _of(self, index: int) -> tuple[Table, int]:
        number = bisect.bisect_right(self._ends, index)
        table = self._tables[number]
        return table, index - self._ends[number] + len(table)

    def read(self, index: int, columns: Sequence[str] | None = None) -> Row:
        """See Table."""
        columns = asked(self, index, columns)
        table, inner = self._of(index)
        found = table.read(inner, [name for name in columns if name in table.columns])
        return {name: found.get(name) for name in columns}

    def read_many(self, indices: Sequence[int], columns: Sequence[str]) -> dict[str, list[Cell]]:
        """See ByColumns."""
        cells: dict[str, list[Cell]] = {name: [] for name in columns}
        places = map(self._of, indices)
        for table, group in itertools.groupby(places, lambda place: place[0]):
            inner = [index for _, index in group]
            known = [name for name in columns if name in table.columns]
            found = read_many(table, inner, known)
            for name, values in cells.items():
                values.extend(found.get(name, [None] * len(inner)))
        return cells

    def where(self, index: int) -> str:
        """See Table."""
        table, inner = self._of(index)
        return table.where(inner)

    def folder(self, index: int) -> str:
        """See Table."""
        table, inner = self._of(index)
        return table.folder(inner)
