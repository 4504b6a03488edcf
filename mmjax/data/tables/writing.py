"""Rows -> a file, some at a time: CSV, TSV, JSONL or Parquet by its ending.

To add a format, add its record to WRITERS.
"""

import csv
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mmjax.data.tables.table import Row
from mmjax.errors import UserError

TEXT, NUMBER, NUMBERS = "text", "number", "numbers"  # what a column may be said to hold
_GROUP = 4096  # rows of a group of a Parquet file
_logger = logging.getLogger(__name__)


@runtime_checkable
class Writer(Protocol):
    """A file that rows are added to. What it holds after an interruption is whole rows."""

    def write(self, rows: Sequence[Row]) -> None:
        """Adds rows, each with all columns."""
        ...

    def __enter__(self) -> "Writer": ...

    def __exit__(self, *_) -> None: ...


def open_writer(path: str | Path, columns: Sequence[str], types: Mapping[str, str]) -> Writer:
    """A new file; one that is there already is written over.

    Args:
        path: its ending says the format.
        columns: their names.
        types: TEXT, NUMBER or NUMBERS, of those that it is known of.

    Raises:
        UserError: another ending, columns that the format cannot hold, or a file that cannot be
            made.
    """
    ending = Path(path).suffix.lower()
    if ending not in WRITERS:
        raise UserError(f"{path}: write a file that ends in {', '.join(WRITERS)}")
    lists = [name for name in columns if types.get(name) == NUMBERS]
    if lists and ending in SEPARATORS:
        raise UserError(f"{path}: {lists[0]!r} is a list of numbers: write .jsonl or .parquet")
    try:
        return WRITERS[ending](Path(path), columns, types)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; choose another") from error


class _Lines:
    """Text: a line, or in CSV several within quotes, for each row; no file or array fits there."""

    def __init__(self, path: Path, columns: Sequence[str], encode: Callable, head: bytes = b""):
        self._encode, self._columns, self._path = encode, columns, path
        self._told: set[str] = set()
        self._file = path.open("wb", buffering=0)
        self._end = self._file.write(head)

    def __enter__(self) -> "_Lines":
        return self

    def write(self, rows: Sequence[Row]) -> None:
        """See Writer."""
        data = self._encode([[self._cell(n, row.get(n)) for n in self._columns] for row in rows])
        written = 0
        while written < len(data):
            written += self._file.write(data[written:])
        self._end += len(data)

    def _cell(self, name: str, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.tolist()
        if not isinstance(value, bytes):
            return value
        if name not in self._told:
            self._told.add(name)
            _logger.warning("%s: column %r holds files and is left empty", self._path, name)
        return None

    def __exit__(self, *_) -> None:
        with self._file:
            self._file.truncate(self._end)  # the beginning of a row, if it was cut short


SEPARATORS: Mapping[str, str] = {".csv": ",", ".tsv": "\t"}


def _separated(separator: str) -> Callable[..., Writer]:
    def encode(rows: Sequence[Sequence[Any]]) -> bytes:
        file = io.StringIO(newline="")
        csv.writer(file, delimiter=separator, lineterminator="\n").writerows(
            [[_in_text(value) for value in row] for row in rows]
        )
        return file.getvalue().encode("utf-8", "backslashreplace")

    return lambda path, columns, _: _Lines(path, columns, encode, encode([columns]))


def _in_text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict, bool)) else value


def _json_lines(path: Path, columns: Sequence[str], _: Mapping[str, str]) -> Writer:
    def encode(rows: Sequence[Sequence[Any]]) -> bytes:
        lines = (json.dumps(dict(zip(columns, row, strict=True))) for row in rows)
        return "".join(f"{line}\n" for line in lines).encode()

    return _Lines(path, columns, encode)


class _Parquet:
    """Groups of rows. The types of columns are those of the first group."""

    def __init__(self, path: Path, columns: Sequence[str], types: Mapping[str, str]):
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise UserError(f"{path}: run: pip install 'mmjax[data]'") from error
        self._arrow, self._path, self._columns = pyarrow, path, columns
        arrow = {
            TEXT: pyarrow.string(),
            NUMBER: pyarrow.float64(),
            NUMBERS: pyarrow.list_(pyarrow.float32()),
        }
        self._types = {name: arrow[kind] for name, kind in types.items()}
        self._waiting: list[Row] = []
        self._file = path.open("wb")
        self._writer: Any = None

    def __enter__(self) -> "_Parquet":
        return self

    def write(self, rows: Sequence[Row]) -> None:
        """See Writer."""
        self._waiting += rows
        if len(self._waiting) >= _GROUP:
            self._flush()

    def _flush(self) -> None:
        rows, self._waiting = self._waiting, []
        arrays = [self._array(name, [row.get(name) for row in rows]) for name in self._columns]
        table = self._arrow.table(arrays, names=list(self._columns))
        if self._writer is None:
            self._types = dict(zip(self._columns, table.schema.types, strict=True))
            self._writer = self._arrow.parquet.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)

    def _array(self, name: str, cells: list[Any]) -> Any:
        cells = [value.tolist() if isinstance(value, np.ndarray) else value for value in cells]
        known = self._types.get(name)
        if known is None and all(value is None for value in cells):
            known = self._arrow.string()
        try:
            return self._arrow.array(cells, known)
        except (self._arrow.ArrowException, TypeError, ValueError) as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(
                f"{self._path}: the cells of column {name!r} are not of one type ({said}): write"
                " .jsonl"
            ) from error

    def __exit__(self, *_) -> None:
        with self._file:
            try:
                if self._waiting or self._writer is None:
                    self._flush()
            finally:
                if self._writer is not None:
                    self._writer.close()


WRITERS: Mapping[str, Callable[..., Writer]] = {
    **{ending: _separated(separator) for ending, separator in SEPARATORS.items()},
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _Parquet,
    ".pq": _Parquet,
}
