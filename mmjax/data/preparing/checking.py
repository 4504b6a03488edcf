"""Reads everything once, and says what is wrong with it and where."""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.columns.cells import CATEGORY, LABELS, NUMBER, NUMBERS, SERIES
from mmjax.data.columns.infer import Column
from mmjax.data.columns.vocabulary import alike
from mmjax.data.tables import media, records
from mmjax.data.tables.table import Table
from mmjax.errors import UserError

BROKEN, MISSING, TWICE, SAME_FILE = "broken", "missing", "duplicated row", "duplicated file"
FAR, LENGTH, ALIKE = "out of range", "other length", "alike labels"
FAR_OUT = 10.0  # times the range of the middle half, beyond that range
MAX_WORDS = 100  # of a column whose labels are counted
MAX_LISTED = 1000  # findings of a kind in a column; the rest are counted
_AHEAD = 256  # rows that are read at once

Decode = Callable[[str | bytes], Any]


class Finding(NamedTuple):
    """Something that may be wrong: what, in which column ("" for the row), where, and the words."""

    what: str
    column: str
    where: str
    said: str


@dataclasses.dataclass(frozen=True)
class Report:
    """What a check found.

    rows: of the table.
    broken: of these, how many cannot be used.
    totals: how many findings there are, by what and column.
    findings: the first MAX_LISTED of each of these.
    labels: how often each word occurs, by column of categories or labels.
    """

    rows: int
    broken: int
    totals: Mapping[tuple[str, str], int]
    findings: tuple[Finding, ...]
    labels: Mapping[str, Mapping[str, int]]

    def first(self, what: str, column: str) -> Finding:
        """The first finding of a kind."""
        return next(f for f in self.findings if (f.what, f.column) == (what, column))


class _Findings:
    def __init__(self):
        self.totals: collections.Counter[tuple[str, str]] = collections.Counter()
        self.listed: list[Finding] = []

    def add(self, what: str, column: str, where: Callable[[], str], said: str) -> None:
        self.totals[what, column] += 1
        if self.totals[what, column] <= MAX_LISTED:
            self.listed.append(Finding(what, column, where(), said))


class _Seen(NamedTuple):
    """What is kept of a row: its errors, digests of it and its files, and what its cells are."""

    errors: list[tuple[str, str]]
    digest: bytes
    files: dict[str, bytes]
    values: dict[str, Any]


def check(
    table: Table,
    columns: Mapping[str, Column],
    decoders: Mapping[str, Decode],
    *,
    root: str = "",
    threads: int = 4,
    progress: Callable[[int], None] = lambda _: None,
) -> Report:
    """Reads each row, decodes each file, and compares.

    Rows of equal cells are duplicated, and so are files of equal content in two rows. A number is
    out of range if it is FAR_OUT times the range of the middle half of its column beyond that
    range. Lists of numbers have another length if most have one. For each row a digest is kept
    (150 bytes with its place), and one for each of its files.

    Args:
        table: any.
        columns: of the table; see infer_columns.
        decoders: by type of column, what decodes a path or bytes, and raises if it cannot.
        root: see media.resolve.
        threads: that read and decode.
        progress: is told how many rows are done.
    """
    used = {name: column for name, column in columns.items() if column.type in _KEPT}
    look = functools.partial(_look, table, used, decoders, root)
    findings, broken = _Findings(), 0
    rows: dict[bytes, int] = {}
    files: dict[str, dict[bytes, int]] = collections.defaultdict(dict)
    kept: dict[str, list[tuple[int, Any]]] = {
        name: [] for name, column in used.items() if column.type in (NUMBER, NUMBERS, SERIES)
    }
    labels: dict[str, collections.Counter] = {
        name: collections.Counter()
        for name, column in columns.items()
        if column.type in (CATEGORY, LABELS) and column.distinct <= MAX_WORDS
    }
    for index, seen in enumerate(_all(look, len(table), threads)):
        place = functools.partial(table.where, index)
        broken += bool(seen.errors)
        for name, said in seen.errors:
            findings.add(BROKEN, name, place, said)
        first = rows.setdefault(seen.digest, index) if seen.digest else index
        if first != index:
            findings.add(TWICE, "", place, f"as {table.where(first)}")
        for name, digest in seen.files.items():
            other = files[name].setdefault(digest, index)
            if other != index and first == index:  # of a duplicated row that is said already
                findings.add(SAME_FILE, name, place, f"as {table.where(other)}")
        for name, value in seen.values.items():
            if value is None:
                findings.add(MISSING, name, place, "empty")
            elif name in labels:
                labels[name].update([value] if isinstance(value, str) else value)
            elif name in kept:
                kept[name].append((index, value))
        progress(index + 1)
    for name, values in kept.items():
        compare = _far if columns[name].type == NUMBER else _lengths
        for what, index, said in compare(values):
            findings.add(what, name, functools.partial(table.where, index), said)
    for name, counts in labels.items():
        for words in alike(counts):
            said = ", ".join(f"{word!r} ({counts[word]})" for word in words)
            findings.add(ALIKE, name, str, said)
    found = {name: dict(counter) for name, counter in labels.items()}
    return Report(len(table), broken, dict(findings.totals), tuple(findings.listed), found)


def _media_value(column: Column, value: Any) -> Any:
    del column
    return True if value is not None else None


def _shape(column: Column, value: Any) -> Any:
    del column
    return None if value is None else value.shape[0 if value.ndim == 1 else 1]


def _itself(column: Column, value: Any) -> Any:
    del column
    return value


# What is kept of a cell, by the type of its column.
_KEPT: Mapping[str, Callable[[Column, Any], Any]] = {
    **dict.fromkeys(media.ENDINGS, _media_value),
    NUMBER: _itself,
    CATEGORY: _itself,
    LABELS: _itself,
    NUMBERS: _shape,
    SERIES: _shape,
    "text": _media_value,
    "date": _media_value,
}


def _all(look: Callable[[int], _Seen], count: int, threads: int) -> Iterator[_Seen]:
    """Each row in its order, a few hundred at a time by several threads."""
    with concurrent.futures.ThreadPoolExecutor(max(threads, 1)) as pool:
        for start in range(0, count, _AHEAD):
            yield from pool.map(look, range(start, min(start + _AHEAD, count)))


def _look(
    table: Table,
    columns: Mapping[str, Column],
    decoders: Mapping[str, Decode],
    root: str,
    index: int,
) -> _Seen:
    try:
        row = table.read(index)
    except UserError as error:
        return _Seen([("", str(error))], b"", {}, {})
    seen = _Seen([], _digest(records.encode(_plain(row), "")), {}, {})
    for name, column in columns.items():
        try:
            value = column.parse(row[name])
            if value is not None and column.type in media.ENDINGS:
                seen.files.update(_file(name, value, table.folder(index), root))
                if not isinstance(value, np.ndarray) and column.type in decoders:
                    decoders[column.type](media.opened(value, table.folder(index), root))
        except MemoryError:
            raise
        # Decoders are open-ended, and so is what they raise; all of it is a finding.
        except Exception as error:  # noqa: BLE001
            said = str(error) if isinstance(error, (UserError, ValueError)) else repr(error)
            seen.errors.append((name, said))
            continue
        seen.values[name] = _KEPT[column.type](column, value)
    return seen


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose cells JSON can hold."""
    return {name: repr(v) if isinstance(v, dict) else v for name, v in row.items()}


def _file(name: str, value: Any, folder: str, root: str) -> dict[str, bytes]:
    if isinstance(value, np.ndarray):
        return {name: _digest(value.tobytes())}
    found = media.opened(value, folder, root)
    if isinstance(found, bytes):
        return {name: _digest(found)}
    with open(found, "rb") as file:
        return {name: hashlib.file_digest(file, "blake2b").digest()[:16]}


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _far(values: list[tuple[int, float]]) -> Iterator[tuple[str, int, str]]:
    numbers = np.array([value for _, value in values])
    if not len(numbers):
        return
    low, high = np.quantile(numbers, [0.25, 0.75])
    reach = FAR_OUT * (high - low)
    if not reach:
        return
    for i in np.flatnonzero((numbers < low - reach) | (numbers > high + reach)).tolist():
        yield FAR, values[i][0], f"{numbers[i]:g}, when half are {low:g} to {high:g}"


def _lengths(values: list[tuple[int, int]]) -> Iterator[tuple[str, int, str]]:
    counts = collections.Counter(length for _, length in values)
    usual = max(counts, key=lambda length: counts[length], default=0)
    for index, length in values:
        if length != usual:
            yield LENGTH, index, f"{length} numbers, most have {usual}"
