"""Rows in ArrayRecord files, as `mmjax.prepare` writes them: bytes of files are inside.

A record is the length of its head (4 bytes, little endian), the head in JSON, and bytes that the
head says the places of.
"""

import hashlib
import io
import json
import struct
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.data.tables.files import File, is_remote
from mmjax.data.tables.table import Cell, Row, Table, asked
from mmjax.errors import UserError, decoding

ENDING = ".array_record"
ABOUT = "table.json"  # beside the records: columns, types, counts
ADVICE = "delete it and prepare the rows again"
FINGERS = 20  # rows by which tables are told apart
AT_ONCE = 64  # records that are in memory together, with the files in them
_LENGTH = struct.Struct("<I")


def encode(row: Row, where: str) -> bytes:
    """A row as a record; `where` it was is kept for messages."""
    cells, places, data = {}, {}, []
    at = 0
    for name, value in row.items():
        if isinstance(value, np.ndarray):
            buffer = io.BytesIO()
            np.save(buffer, value, allow_pickle=False)
            kind, content = "array", buffer.getvalue()
        elif isinstance(value, bytes):
            kind, content = "bytes", value
        else:
            cells[name] = value
            continue
        places[name] = (kind, at, at + len(content))
        at += len(content)
        data.append(content)
    head = json.dumps({"cells": cells, "places": places, "where": where}).encode()
    return b"".join([_LENGTH.pack(len(head)), head, *data])


def decode(record: bytes) -> tuple[Row, str]:
    """What `encode` was given.

    Raises:
        ValueError, KeyError, struct.error: it is no such record.
    """
    (length,) = _LENGTH.unpack_from(record)
    data = record[_LENGTH.size + length :]
    head = json.loads(record[_LENGTH.size : _LENGTH.size + length].decode())
    row = dict(head["cells"])
    for name, (kind, start, stop) in head["places"].items():
        content = data[start:stop]
        if len(content) != stop - start:
            raise ValueError("it is cut short")
        is_array = kind == "array"
        row[name] = np.load(io.BytesIO(content), allow_pickle=False) if is_array else content
    return row, head["where"]


def fingerprint(table: Table) -> str:
    """Another one for other rows: of their number, the columns, and FINGERS rows all over."""
    known: list[Any] = [table.name, len(table), table.columns]
    count = min(len(table), FINGERS)
    for index in np.unique(np.linspace(0, len(table) - 1, count).astype(int)).tolist():
        try:
            row = {name: _plain(value) for name, value in table.read(index).items()}
            known.append(hashlib.sha256(encode(row, "")).hexdigest())
        except UserError as error:
            known.append(str(error))
    return hashlib.sha256(repr(known).encode()).hexdigest()


def _plain(value: Any) -> Any:
    return repr(value) if isinstance(value, dict) else value  # which may hold bytes


class Records:
    """The rows of an ArrayRecord file that `encode` wrote; see Table.

    Args:
        file: on this machine.
        columns: their names; None to read them beside the file, in ABOUT.

    Raises:
        UserError: array_record is not installed, or the file is damaged.
    """

    def __init__(self, file: File, columns: Sequence[str] | None = None):
        if is_remote(file.path):
            raise UserError(f"{file.path}: ArrayRecord is read from this machine only: download it")
        self.name, self._file = file.name, file
        self._open()
        if columns is None:
            known = about(Path(file.path).parent)
            columns, rows = known["columns"], known.get("files", {}).get(self.name, self._length)
            if rows != self._length:
                raise UserError(f"{file.path} has {self._length} of {rows} records; {ADVICE}")
        self.columns = tuple(columns)
        if not len(self):
            raise UserError(f"{file.path} has no records, or has lost its end; {ADVICE}")

    def _open(self) -> None:
        self._lock = threading.Lock()
        path = self._file.path
        try:
            from array_record.python.array_record_module import ArrayRecordReader
        except ImportError as error:
            raise UserError(f"{path}: run: pip install 'mmjax[data]'") from error
        File(path)  # it is there: the reader would say so in C++
        with decoding(f"{path} is no intact ArrayRecord file", ADVICE):
            # Without this the reader reads far ahead of rows that are asked for at random.
            self._reader = ArrayRecordReader(path, "readahead_buffer_size:0")
            self._length = self._reader.num_records()

    def __len__(self) -> int:
        return self._length

    def read(self, index: int, columns: Sequence[str] | None = None) -> Row:
        """See Table."""
        columns = asked(self, index, columns)
        with decoding(f"{self.where(index)} cannot be read", ADVICE):
            with self._lock:
                record = self._reader.read([index])[0]
            row, _ = decode(record)
        return {name: row.get(name) for name in columns}

    def read_many(self, indices: Sequence[int], columns: Sequence[str]) -> dict[str, list[Cell]]:
        """See ByColumns."""
        cells: dict[str, list[Cell]] = {name: [] for name in columns}
        for start in range(0, len(indices), AT_ONCE):
            some = list(indices[start : start + AT_ONCE])
            for index in some:
                asked(self, index, columns)
            with decoding(f"{self.name}: one of {len(some)} records cannot be read", ADVICE):
                with self._lock:
                    records = self._reader.read(some)
                for record in records:
                    row, _ = decode(record)
                    for name, values in cells.items():
                        values.append(row.get(name))
        return cells

    def where(self, index: int) -> str:
        """See Table."""
        return f"{self.name}, record {index}"

    def folder(self, index: int) -> str:
        """See Table: nothing is outside."""
        del index
        return ""

    def __getstate__(self) -> dict[str, Any]:
        gone = ("_lock", "_reader")
        return {name: value for name, value in self.__dict__.items() if name not in gone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


def about(folder: Path) -> Mapping[str, Any]:
    """What stands beside prepared rows.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / ABOUT
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found["columns"], list):
            raise ValueError("columns")
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} has no {ABOUT}: it is not whole; run mmjax.prepare again to finish it"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r}); {ADVICE}") from error
    return found
