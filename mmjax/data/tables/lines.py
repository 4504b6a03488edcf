"""Where the rows of a text file begin, with quoted cells that hold line ends (RFC 4180)."""

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from mmjax.data.tables.files import File
from mmjax.data.tables.index import Index, kept
from mmjax.errors import UserError

BLOCK = 2**22  # bytes at a time
MAX_ROW = 2**26  # bytes; a quote that is not closed in so many is a letter like others
BOM = b"\xef\xbb\xbf"
# Files by their first bytes that are no text of ours, and what to do.
OTHERS = {
    b"\xff\xfe": "is UTF-16: save it as UTF-8",
    b"\xfe\xff": "is UTF-16: save it as UTF-8",
    b"\x1f\x8b": "is compressed, so its rows cannot be read at random: gunzip it",
    b"PK\x03\x04": "is a ZIP file or a spreadsheet: unzip it, or save the sheet as CSV",
}


class Lines(NamedTuple):
    """The rows of a text file.

    starts: of each row in bytes, and the end of the last.
    jumps: rows from which on the line numbers are ahead of the rows by another number.
    ahead: this number, for each of `jumps`.
    """

    starts: Int64[np.ndarray, " rows+1"]
    jumps: Int64[np.ndarray, " jumps"]
    ahead: Int64[np.ndarray, " jumps"]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def line(self, row: int) -> int:
        """The line of a row in the file, from 1."""
        place = int(np.searchsorted(self.jumps, row, side="right")) - 1
        return row + 1 + (int(self.ahead[place]) if place >= 0 else 0)

    def without_first(self) -> "Lines":
        """All but the first row; the numbers of lines stay as they are."""
        ahead = [self.line(1) - 1] if len(self) > 1 else [1]
        later = self.jumps > 1
        return Lines(
            self.starts[1:].copy(),
            np.concatenate([np.zeros(1, np.int64), self.jumps[later] - 1]),
            np.concatenate([np.array(ahead, np.int64), self.ahead[later] + 1]),
        )


def check_text(file: File) -> None:
    """Raises a UserError for a file that is empty or plainly no text."""
    head = file.read(0, 4)
    if not head.removeprefix(BOM):
        raise UserError(f"{file.path} is empty ({file.size} bytes): restore it")
    for magic, advice in OTHERS.items():
        if head.startswith(magic):
            raise UserError(f"{file.path} {advice}")


def find(file: File, separator: str, cache: str) -> Lines:
    """The rows of a file; empty lines are none.

    Args:
        file: UTF-8, with or without a byte order mark.
        separator: of cells; "" if a row is a line, whatever quotes it holds.
        cache: see `index.kept`.

    Raises:
        UserError: it cannot be read.
    """
    return Lines(**kept(cache, file, f"lines {separator!r}", lambda: _find(file, separator)))


def line_end(head: bytes) -> bytes:
    """What ends the lines of a text: a line feed, or the carriage return of old files."""
    return b"\r" if b"\r" in head and b"\n" not in head else b"\n"


def _find(file: File, separator: str) -> Index:
    end = line_end(file.read(0, BLOCK))
    pattern = quoting(separator, end) if separator else None
    starts, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    tail, at, line = b"", 0, 1
    if file.read(0, 3) == BOM:
        at = 3
    for first in range(at, file.size, BLOCK):
        last = first + BLOCK >= file.size
        data = tail + file.read(first, first + BLOCK)
        ends = row_ends(data, pattern, end, last)
        used = int(ends[-1]) if len(ends) else 0
        begins = np.concatenate([np.zeros(min(len(ends), 1), np.int64), ends[:-1]])
        array = np.frombuffer(data, np.uint8)
        feeds = np.flatnonzero(array[:used] == end[0])
        blank = ends - begins == 1
        blank |= (ends - begins == 2) & (array[begins] == 13)
        blank &= array[np.maximum(ends, 1) - 1] == end[0]
        begins = begins[~blank]
        starts.append(begins + at)
        numbers.append(np.searchsorted(feeds, begins) + line)
        at, line, tail = at + used, line + len(feeds), data[used:]
    begins, lines = np.concatenate(starts), np.concatenate(numbers)
    ahead = lines - np.arange(1, len(lines) + 1)
    jumps = np.flatnonzero(np.diff(ahead, prepend=0))
    return {
        "starts": np.append(begins, file.size).astype(np.int64),
        "jumps": jumps.astype(np.int64),
        "ahead": ahead[jumps].astype(np.int64),
    }


def quoting(separator: str, end: bytes) -> re.Pattern[bytes]:
    """Finds quoted cells, ends of rows, and quotes that begin a cell and are not closed."""
    begin = rb"(?<![^%s\r\n])" % re.escape(separator.encode())
    return re.compile(begin + rb'"[^"]*+(?:""[^"]*+)*+"|' + end + rb"|" + begin + rb'"')


def row_ends(
    data: bytes, pattern: re.Pattern[bytes] | None, end: bytes, last: bool
) -> Int64[np.ndarray, " rows"]:
    """Where the rows of some bytes end, which begin with a row.

    Args:
        data: what is behind the last end is the beginning of a row that goes on.
        pattern: of quoted cells; None if there are none.
        end: of lines.
        last: whether the file ends here.
    """
    if pattern is None or b'"' not in data:
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == end[0]) + 1
    else:
        found = [0]
        for match in pattern.finditer(data):
            text = match.group()
            if text == end:
                found.append(match.end())
            elif (
                not last
                and (text == b'"' or match.end() == len(data))
                and len(data) - found[-1] < MAX_ROW  # beyond, the quote is a letter
            ):
                break  # the cell goes on in the next block
        ends = np.array(found[1:], np.int64)
    if last and len(data) and (not len(ends) or ends[-1] < len(data)):
        ends = np.append(ends, len(data))
    return ends.astype(np.int64)
