"""Columns -> inputs: what of a row each modality of a model reads."""

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from mmjax.data.columns.cells import EMPTY, NUMBER, NUMBERS, SERIES, TEXT, UNKNOWN
from mmjax.data.columns.features import KINDS as FEATURES
from mmjax.data.columns.features import Features
from mmjax.data.columns.infer import Column
from mmjax.data.tables import media
from mmjax.data.tables.shards import KEY
from mmjax.errors import UserError, nearest

TABLE = "table"  # the modality of all numbers, categories, labels and dates
VECTOR = "vector"
# The kind of input that a column of a type is.
KIND_OF: Mapping[str, str] = {
    **{kind: kind for kind in media.ENDINGS},
    TEXT: "text",
    NUMBERS: VECTOR,
    SERIES: "series",
    **dict.fromkeys(FEATURES, VECTOR),
}
_logger = logging.getLogger(__name__)
_IDENTIFIER = re.compile(r"(^|[_ ])(id|index|key|uuid)$|^unnamed", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A modality: its kind, and the columns that it reads (several make one vector)."""

    kind: str
    columns: tuple[Column, ...]
    features: Features | None = None
    root: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a vector [F], and of a series [T F] as long as the longest that was looked at."""
        return self.columns[0].shape if self.features is None else (len(self.features),)

    @property
    def has_files(self) -> bool:
        """Whether its cells name or hold files, which are decoded."""
        return self.columns[0].type in media.ENDINGS

    def parse(self, row: Mapping[str, Any], folder: str) -> Any:
        """What the cells of a row hold of this modality; None if all of it is missing.

        Args:
            row: cells by column.
            folder: where relative paths in it begin.

        Raises:
            ValueError, UserError: a cell is not of its type, or its file is not there.
        """
        if self.features is not None:
            found = self.features.parse(row)
            return None if all(value is None for value in found) else found
        (column,) = self.columns
        value = column.parse(row[column.name])
        if value is None or column.type not in media.ENDINGS or isinstance(value, np.ndarray):
            return value
        return media.opened(value, folder, self.root)

    def together(self, parsed: Sequence[Any]) -> Sequence[Any] | Float64[np.ndarray, "B F"]:
        """What a reader of this kind takes of rows that were parsed, one or None for each.

        Paths or bytes, texts, or arrays; vectors are float64 [B F] and NaN where they are missing.
        """
        return parsed if self.features is None else self.features.vectors(parsed)


def choose(
    where: str,
    columns: Mapping[str, Column],
    asked: Mapping[str, str | Sequence[str]] | None,
    taken: Sequence[str],
    root: str,
) -> dict[str, Wanted]:
    """The modalities by name, still without their features.

    Args:
        where: the table, for messages.
        columns: of the table.
        asked: the columns of each modality; None for all that are not `taken`: each picture, sound,
            video, text, list of numbers and series is a modality of the column's name, and all
            numbers, categories, labels and dates are one, TABLE. Empty columns and those that
            number the rows are left out.
        taken: columns that are targets, or say the split or the group.
        root: see media.resolve.

    Raises:
        UserError: a column that is not there, that is taken, or that cannot be used; none is left.
    """
    if asked is None:
        left = [column for name, column in columns.items() if name not in taken]
        for column in left:
            why = _left_out(column)
            if why:
                _logger.warning("%s: column %r %s and is no input", where, column.name, why)
        left = [c for c in left if not _left_out(c) and c.type != EMPTY and c.name != KEY]
        features = tuple(column.name for column in left if column.type in FEATURES)
        asked = {module_name(c.name): c.name for c in left if c.type not in FEATURES}
        if features:
            if TABLE in asked:
                raise UserError(f"{where}: rename the column {TABLE!r}, or say which are inputs")
            asked[TABLE] = features
    found = {}
    for modality, names in asked.items():
        names = (names,) if isinstance(names, str) else tuple(names)
        for name in names:
            if name not in columns:
                raise UserError(
                    f"{where}: no column {name!r} for {modality!r}; {nearest(name, list(columns))}"
                )
            if name in taken:
                raise UserError(f"{where}: column {name!r} of {modality!r} is a target or a split")
        found[modality] = _wanted(where, modality, [columns[name] for name in names], root)
    if not found:
        raise UserError(f"{where}: no column is left for an input besides {', '.join(taken)}")
    return found


def _wanted(where: str, modality: str, columns: Sequence[Column], root: str) -> Wanted:
    for column in columns:
        if column.problem:
            raise UserError(f"{where}: {column.name!r}: {column.problem}")
        if column.type not in KIND_OF:
            raise UserError(
                f"{where}: column {column.name!r} of {modality!r} is {column.type}: say what it is"
                f" with types.{column.name}"
            )
    together = all(column.type in FEATURES for column in columns)
    if not columns or (len(columns) > 1 and not together):
        raise UserError(
            f"{where}: {modality!r} reads {[c.name for c in columns]}: give one column, or several"
            f" of {', '.join(FEATURES)}"
        )
    return Wanted(KIND_OF[columns[0].type], tuple(columns), None, root)


def _left_out(column: Column) -> str:
    """Why a column is left out; "" if it is not."""
    if column.type == UNKNOWN:
        return f"is of no known type ({column.note or 'bytes'})"
    return "only numbers the rows" if is_identifier(column) and column.name != KEY else ""


def is_identifier(column: Column) -> bool:
    """Whether a column only numbers the rows: all cells differ, and it is called so."""
    different = column.distinct == column.rows - column.empty
    is_word = column.type in (NUMBER, TEXT)
    named = column.name == KEY or _IDENTIFIER.search(column.name) is not None
    return different and is_word and named


def module_name(name: str) -> str:
    """A column's name as that of a modality, which names parameters: letters, digits and _."""
    return re.sub(r"\W+", "_", name).strip("_") or "input"
