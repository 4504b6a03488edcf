"""CSV and TSV: cells with a separator between them, perhaps in quotes, under a line of names."""

import functools
import re
from collections.abc import Sequence

from mmjax.data.tables import lines
from mmjax.data.tables.files import File, folder_of
from mmjax.data.tables.table import Cell, Row, asked, different
from mmjax.errors import UserError

SEPARATORS = (",", ";", "\t", "|")
MAX_BLOCK = 2**24  # bytes that are read at once for rows that lie near each other
_SNIFFED, _SNIFFED_ROWS = 2**16, 100


def cells(text: str, separator: str) -> list[str]:
    """The cells of a row. Quotes count at the beginning of a cell only, as in RFC 4180.

    Raises:
        ValueError: a quote is not closed.
    """
    if '"' not in text:
        return text.split(separator)
    cell = _cell(separator)
    found, at = [], 0
    while True:
        match = cell.match(text, at)
        if match is None:
            raise ValueError("no cell")
        quoted, rest, bare = match.groups()
        if quoted is None and bare.startswith('"'):
            raise ValueError("a quote is opened and not closed")
        found.append(bare if quoted is None else quoted.replace('""', '"') + rest)
        if match.end() >= len(text):
            return found
        at = match.end() + 1


@functools.cache
def _cell(separator: str) -> re.Pattern[str]:
    """A cell in quotes, with what follows them, or one without."""
    mark = re.escape(separator)
    return re.compile(rf'"([^"]*(?:""[^"]*)*)"([^{mark}]*)|([^{mark}]*)')


def sniff(file: File) -> str:
    """The separator of a file: with it most of the first rows have as many cells as the names."""
    data = file.read(0, _SNIFFED).removeprefix(lines.BOM)
    end = lines.line_end(data)
    if end in data and len(data) < file.size - len(lines.BOM):
        data = data[: data.rfind(end) + 1]
    best, separator = (0, 0), ","
    for candidate in SEPARATORS:
        pattern = lines.quoting(candidate, end)
        ends = lines.row_ends(data, pattern, end, last=True).tolist()
        rows = [data[a:b].strip(b"\r\n") for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        counts = []
        for row in [row for row in rows if row][:_SNIFFED_ROWS]:
            try:
                counts.append(len(cells(row.decode(errors="replace"), candidate)))
            except ValueError:
                counts.append(0)
        if counts and counts[0] > 1:
            score = (counts.count(counts[0]), counts[0])
            if score > best:
                best, separator = score, candidate
    return separator


class Separated:
    """The rows of a CSV file; see Table. An empty cell is None, all others are strings.

    Args:
        file: UTF-8; its first line has the names of the columns.
        cache: see `index.kept`.
        separator: between cells; "" to find out.

    Raises:
        UserError: it is empty, no text, or has no names or no rows.
    """

    def __init__(self, file: File, cache: str = "", separator: str = ""):
        lines.check_text(file)
        self.name, self._file = file.name, file
        self._separator = separator or sniff(file)
        found = lines.find(file, self._separator, cache)
        if not len(found):
            raise UserError(f"{file.path} holds empty lines only: restore it")
        self._lines, first = found, f"{file.name}, line {found.line(0)}"
        names = self._cells(0)
        if any(map(str.strip, names)) and all(_is_number(name) for name in names if name.strip()):
            raise UserError(
                f"{first}: the names of the columns are expected, found only numbers; add a line"
                " of names at the top"
            )
        self.columns = different(names, first)
        self._lines = found.without_first()
        if not len(self):
            raise UserError(f"{file.path} has the names of columns, but no rows")

    def __len__(self) -> int:
        return len(self._lines)

    def _cells(self, index: int) -> list[str]:
        data = self._file.read(*map(int, self._lines.starts[index : index + 2]))
        return self._parsed(index, data)

    def _parsed(self, index: int, data: bytes) -> list[str]:
        try:
            # strip, since empty lines may follow a row.
            return cells(data.decode().rstrip("\r\n"), self._separator)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{self.where(index)}: not UTF-8 (byte {error.start} of the row is"
                f" 0x{data[error.start]:02x}); save the file as UTF-8"
            ) from error
        except ValueError as error:
            raise UserError(f"{self.where(index)}: {error}") from error

    def read(self, index: int, columns: Sequence[str] | None = None) -> Row:
        """See Table.

        Raises:
            UserError: too many cells, or not enough; a quote that is not closed; no UTF-8.
        """
        columns = asked(self, index, columns)
        row = dict(zip(self.columns, self._checked(index, self._cells(index)), strict=True))
        return {name: row[name] or None for name in columns}

    def _checked(self, index: int, row: list[str]) -> list[str]:
        """The cells of a row, of which there must be one for each column."""
        count = len(self.columns)
        if len(row) == count:
            return row
        if len(row) < count or any(row[count:]):
            raise UserError(
                f"{self.where(index)}: {len(row)} cells, but {count} columns"
                f" (separated by {self._separator!r})"
            )
        return row[:count]

    def read_many(self, indices: Sequence[int], columns: Sequence[str]) -> dict[str, list[Cell]]:
        """See ByColumns."""
        if not len(indices):
            return {name: [] for name in columns}
        first, last = min(indices), max(indices)
        asked(self, first, columns)
        asked(self, last, columns)
        starts = self._lines.starts[first : last + 2].tolist()
        if starts[-1] - starts[0] > MAX_BLOCK:
            rows = [self.read(index, columns) for index in indices]
            return {name: [row[name] for row in rows] for name in columns}
        data = self._file.read(starts[0], starts[-1])
        found = []
        for index in indices:
            start, stop = starts[index - first], starts[index - first + 1]
            row = self._parsed(index, data[start - starts[0] : stop - starts[0]])
            found.append(self._checked(index, row))
        whole = list(zip(*found, strict=True))
        places = {name: self.columns.index(name) for name in columns}
        return {name: [cell or None for cell in whole[place]] for name, place in places.items()}

    def where(self, index: int) -> str:
        """See Table."""
        return f"{self.name}, line {self._lines.line(index)}"

    def folder(self, index: int) -> str:
        """See Table."""
        del index
        return folder_of(self._file.path)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
