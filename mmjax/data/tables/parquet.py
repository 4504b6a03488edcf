"""Parquet, through pyarrow: a few groups of rows are in memory, decoded, and no more."""

import collections
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmjax.data.tables.files import File, folder_of
from mmjax.data.tables.table import Row, asked, plain
from mmjax.errors import UserError, decoding

KEPT_BYTES = 2**28  # of decoded groups of rows; one is kept whatever its size
ADVICE = "restore the file"


class Parquet:
    """The rows of a Parquet file; see Table.

    A row is read with all of its group, of which the last few stay in memory. Where groups are
    large, shuffled reading is slow: `mmjax.prepare` writes the rows one by one.

    Args:
        file: here or far away.

    Raises:
        UserError: pyarrow is not installed, or the file is damaged or has no rows.
    """

    def __init__(self, file: File):
        self.name, self._file = file.name, file
        self._open()
        with decoding(f"{file.path} cannot be read", ADVICE):
            groups = self._parquet.metadata.num_row_groups
            sizes = [self._parquet.metadata.row_group(i).num_rows for i in range(groups)]
            self.columns = tuple(self._parquet.schema_arrow.names)
        self._ends = np.cumsum(sizes, dtype=np.int64)
        if len(set(self.columns)) < len(self.columns):
            raise UserError(f"{file.path}: two columns have one name: rename one")
        if not len(self):
            raise UserError(f"{file.path} has no rows")

    def _open(self) -> None:
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise UserError(
                f"{self._file.path}: Parquet needs pyarrow; run: pip install 'mmjax[data]'"
            ) from error
        self._lock = threading.Lock()
        self._groups: collections.OrderedDict[tuple, Any] = collections.OrderedDict()
        with decoding(f"{self._file.path} is no intact Parquet file", ADVICE):
            self._parquet = pyarrow.parquet.ParquetFile(self._file.open())

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, index: int, columns: Sequence[str] | None = None) -> Row:
        """See Table."""
        columns = asked(self, index, columns)
        number = int(np.searchsorted(self._ends, index, side="right"))
        before = int(self._ends[number - 1]) if number else 0
        with self._lock, decoding(f"{self.where(index)} cannot be read", ADVICE):
            group = self._group(number, tuple(columns))
            found = {name: group[name][index - before].as_py() for name in columns}
        return {name: plain(value) for name, value in found.items()}

    def _group(self, number: int, columns: tuple[str, ...]) -> Any:
        key = number, columns
        if key not in self._groups:
            self._groups[key] = self._parquet.read_row_group(number, list(columns))
            size = sum(group.nbytes for group in self._groups.values())
            while size > KEPT_BYTES and len(self._groups) > 1:
                size -= self._groups.popitem(last=False)[1].nbytes
        self._groups.move_to_end(key)
        return self._groups[key]

    def where(self, index: int) -> str:
        """See Table."""
        return f"{self.name}, row {index + 1}"

    def folder(self, index: int) -> str:
        """See Table."""
        del index
        return folder_of(self._file.path)

    def __getstate__(self) -> dict[str, Any]:
        gone = ("_lock", "_groups", "_parquet")
        return {name: value for name, value in self.__dict__.items() if name not in gone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()
