"""The type of each column of a table, guessed from some rows."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.columns import cells
from mmjax.data.columns.guessing import Guess, form_of, guess_of
from mmjax.data.tables import media
from mmjax.data.tables.table import Table, spread
from mmjax.errors import UserError, nearest

TYPES = tuple(cells.PARSERS)
OPENED = 5  # files of a column whose first bytes are looked at
_SAID = 30  # letters of an example


@dataclasses.dataclass(frozen=True)
class Column:
    """What is known of a column.

    name, type: the type is one of TYPES, cells.EMPTY or cells.UNKNOWN.
    rows: that were looked at.
    empty: of these, how many cells.
    distinct: how many different cells the others are.
    wrong: how many of them are not of the type.
    examples: some, shortened.
    form: how numbers, dates or several labels are written (cells.number_form, dates.ORDERS, the
        separator).
    note: what else is to be said.
    problem: why the column cannot be used; "" if it can.
    inside: whether cells hold files or pixels themselves, not their paths.
    shape: of lists of numbers [F] and series [T F]: what most are, and the longest of the rows that
        were looked at; () of all else.
    """

    name: str
    type: str
    rows: int
    empty: int
    distinct: int
    wrong: int = 0
    examples: tuple[str, ...] = ()
    form: str = ""
    note: str = ""
    problem: str = ""
    inside: bool = False
    shape: tuple[int, ...] = ()

    def parse(self, value: Any) -> Any:
        """See cells.parse."""
        return cells.parse(self.type, value, self.form)

    def parse_all(self, values: Sequence[Any]) -> list[Any]:
        """See cells.parse_all."""
        return cells.parse_all(self.type, values, self.form)


class _Seen(NamedTuple):
    """The cells of a column that are not empty, and where each of them is."""

    values: list[Any]
    rows: list[int]
    different: dict[Any, str]

    def add(self, value: Any, row: int) -> None:
        """Of the bytes of a file only the first are kept."""
        self.different.setdefault(_key(value), _said(value))
        self.values.append(value[: media.HEAD] if isinstance(value, bytes) else value)
        self.rows.append(row)


def infer_columns(
    table: Table,
    sample: int = 1000,
    types: Mapping[str, str] | None = None,
    root: str = "",
) -> dict[str, Column]:
    """Guesses the type of each column from rows all over the table; broken ones are left out.

    Args:
        table: any.
        sample: rows to look at.
        types: what overrules the guesses, by column: a type, or a type and how it is written, such
            as "date:DMY", "labels:;" or "number:1,5".
        root: see media.resolve.

    Raises:
        UserError: a type of a column that is not there, an unknown type, or not one row of the
            sample can be read.
    """
    given = dict(types or {})
    for name, kind in given.items():
        if name not in table.columns:
            raise UserError(
                f"types: {table.name} has no column {name!r}; {nearest(name, table.columns)}"
            )
        if kind.partition(":")[0] not in TYPES:
            raise UserError(f"types.{name}={kind!r}: unknown; {nearest(kind, TYPES)}")
    chosen = spread(len(table), sample)
    seen = {name: _Seen([], [], {}) for name in table.columns}
    first, read = None, 0
    for index in chosen:
        try:
            row = table.read(index)
        except UserError as error:
            first = first or error
            continue
        read += 1
        for name, value in row.items():
            if value is not None and not (isinstance(value, str) and not value.strip()):
                seen[name].add(value, index)
    if not read:
        raise UserError(f"{table.name}: none of {len(chosen)} rows can be read: {first}")
    return {
        name: _column(table, name, found, read, given.get(name, ""), root)
        for name, found in seen.items()
    }


def _column(table: Table, name: str, seen: _Seen, read: int, given: str, root: str) -> Column:
    values = seen.values
    kind, _, form = given.partition(":")
    guess = guess_of(values) if not given else Guess(kind, form or form_of(kind, values))
    if guess.type in cells.BLANKS:
        values = [value for value in values if not cells.is_missing(value)]
        for key in [key for key in seen.different if cells.is_missing(key)]:
            del seen.different[key]
    wrong, first, shapes = 0, "", []
    for value, index in zip(seen.values, seen.rows, strict=True):
        try:
            if guess.type in TYPES:
                parsed = cells.parse(guess.type, value, guess.form)
                if guess.type in (cells.NUMBERS, cells.SERIES) and parsed is not None:
                    shapes.append(parsed.shape)
        except ValueError as error:
            wrong += 1
            first = first or f"{table.where(index)}: {error}"
    note, problem = guess.note, ""
    if wrong:
        note = f"{wrong} are not: {first}"
        if wrong == len(values):
            problem = f"no cell is of type {guess.type} ({first})"
    if guess.type in media.ENDINGS:
        note, problem = _look(table, guess.type, seen, root, note, problem)
    return Column(
        name=name,
        type=guess.type,
        rows=read,
        empty=read - len(values),
        distinct=len(seen.different),
        wrong=wrong,
        examples=tuple(seen.different.values())[:3],
        form=guess.form,
        note=note,
        problem=problem,
        shape=_usual(shapes),
        inside=any(isinstance(value, (bytes, np.ndarray)) for value in values),
    )


def _look(
    table: Table, kind: str, seen: _Seen, root: str, note: str, problem: str
) -> tuple[str, str]:
    """Opens some files: are they there, and what their names say?"""
    lost, others, first = 0, 0, ""
    step = max(1, len(seen.values) // OPENED)
    places = range(0, len(seen.values), step)
    for place in places:
        value, index = seen.values[place], seen.rows[place]
        if not isinstance(value, (str, bytes)):
            continue
        try:
            found = media.kind_of_bytes(media.head(value, table.folder(index), root))
        except UserError as error:
            lost += 1
            first = first or f"{table.where(index)}: {error}"
            continue
        others += found not in ("", kind)
    if lost:
        note = f"{lost} of {len(places)} files not found: {first}"
        if lost == len(places):
            problem = f"its files are not found: {first}"
    elif others:
        note = f"{others} of {len(places)} files hold something else by their first bytes"
    return note, problem


def _usual(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The most frequent length of the last axis, and the longest of the first of two."""
    if not shapes:
        return ()
    widths = [shape[-1] for shape in shapes]
    width = max(set(widths), key=lambda width: (widths.count(width), width))
    steps = [shape[0] for shape in shapes if shape[-1] == width]
    return (width,) if len(shapes[0]) == 1 else (max(steps), width)


def _said(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, float):
        return f"{value:g}"
    said = f"{len(value):,} bytes" if isinstance(value, bytes) else " ".join(str(value).split())
    return said if len(said) <= _SAID else f"{said[: _SAID - 1]}…"


def _key(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tobytes()
    if isinstance(value, bytes):
        return hashlib.blake2b(value, digest_size=16).digest()
    return value if isinstance(value, (str, int, float)) else repr(value)
