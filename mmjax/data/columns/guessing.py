"""Cells of a column -> the type that they most likely have."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.columns import cells, dates
from mmjax.data.columns.cells import (
    CATEGORY,
    DATE,
    EMPTY,
    LABELS,
    NUMBER,
    NUMBERS,
    SERIES,
    TEXT,
    UNKNOWN,
)
from mmjax.data.tables import media

MOSTLY = 0.9  # the share of cells that make a type; others are broken cells
SOME = 0.2  # the share of cells with a separator that make labels
FEW, SHARE, WORDS = 20, 0.05, 3  # categories: so many, or this share of the rows, or so few words


class Guess(NamedTuple):
    """A type, how it is written, and what else is to be said; see infer.Column."""

    type: str
    form: str = ""
    note: str = ""


def form_of(kind: str, values: Sequence[Any]) -> str:
    """How the cells of a column of a known type are written."""
    texts = [value for value in values if isinstance(value, str)]
    makers: Mapping[str, Callable[[list[str]], str]] = {
        NUMBER: cells.number_form,
        DATE: dates.order_of,
        LABELS: lambda t: max(cells.SEPARATORS, key=lambda mark: sum(mark in x for x in t)),
    }
    return makers[kind](texts) if kind in makers and texts else ""


def _share(kind: str, values: Sequence[Any], form: str) -> float:
    """The share of the cells that are of a type."""

    def fits(value: Any) -> bool:
        try:
            cells.parse(kind, value, form)
        except ValueError:
            return False
        return True

    return sum(map(fits, values)) / max(len(values), 1)


def guess_of(values: Sequence[Any]) -> Guess:
    """The type of a column, from cells that are not empty; of files the first bytes are enough."""
    if not values:
        return Guess(EMPTY)
    kinds = [type(value) for value in values]
    most = max(set(kinds), key=kinds.count)
    rest = (int, float, bool) if most in (int, float, bool) else (most,)
    same = [value for value in values if isinstance(value, rest)]
    guesses: Mapping[type, Callable[[list[Any]], Guess]] = {
        bytes: _of_bytes,
        np.ndarray: _of_arrays,
        list: _of_lists,
        bool: lambda _: Guess(CATEGORY),
        int: _of_numbers,
        float: _of_numbers,
        str: _of_texts,
    }
    return guesses.get(most, lambda _: Guess(UNKNOWN, note=f"{most.__name__}s"))(same)


def _of_bytes(values: list[bytes]) -> Guess:
    kinds = [media.kind_of_bytes(value) for value in values]
    most = max(set(kinds), key=kinds.count)
    return Guess(most or UNKNOWN)


def _of_arrays(values: list[np.ndarray]) -> Guess:
    first = values[0]
    if first.dtype == np.uint8 and first.ndim in (3, 4) and first.shape[-1] in (3, 4):
        return Guess(media.IMAGE if first.ndim == 3 else media.VIDEO)
    return _of_lists([value.tolist() for value in values])


def _of_lists(values: list[list]) -> Guess:
    if all(isinstance(part, str) for value in values for part in value):
        return Guess(LABELS)
    found = [len(value) for value in values]
    lengths, usual = set(found), max(found.count(length) for length in set(found))
    flat = not any(isinstance(part, list) for value in values for part in value)
    kind = NUMBERS if flat and usual >= MOSTLY * len(values) else SERIES
    size = f"{min(lengths)}" if len(lengths) == 1 else f"{min(lengths)} to {max(lengths)}"
    return Guess(kind, note=f"{size} {'numbers' if kind == NUMBERS else 'steps'}")


def _of_numbers(values: list[Any], form: str = "") -> Guess:
    numbers = []
    for value in values:
        try:
            if not cells.is_missing(value):
                numbers.append(cells.number(value, form))
        except ValueError:
            continue
    different = set(numbers)
    note = f"{min(numbers):g} to {max(numbers):g}" if numbers else ""
    whole = all(n.is_integer() for n in different)
    if whole and len(different) <= FEW and len(numbers) >= 3 * len(different):
        return Guess(CATEGORY, note=f"numbers {note}")
    return Guess(NUMBER, form, note)


def _of_texts(values: list[str]) -> Guess:
    kinds = [media.kind_of_path(value) for value in values]
    kind = max(set(kinds), key=kinds.count)
    if kind and kinds.count(kind) >= MOSTLY * len(values):
        return Guess(kind)
    known = [value for value in values if not cells.is_missing(value)] or values
    form = cells.number_form(known)
    shares = {NUMBER: _share(NUMBER, known, form)}
    if shares[NUMBER] >= MOSTLY:
        return _of_numbers(values, form)
    order = dates.order_of(known)
    if _share(DATE, known, order) >= MOSTLY:
        return Guess(DATE, order)
    if sum(value.lstrip().startswith("[") for value in values) >= MOSTLY * len(values):
        lists = [found for found in map(_list_or_none, values) if found is not None]
        if len(lists) >= MOSTLY * len(values):
            return _of_lists(lists)
    several = _separator(values)
    if several:
        return Guess(LABELS, several)
    mixed = f"{shares[NUMBER]:.0%} are numbers" if shares[NUMBER] > SOME else ""
    distinct = len(set(values))
    words = sum(len(value.split()) for value in values) / len(values)
    repeated = len(values) >= 2 * distinct
    if repeated and (distinct <= max(FEW, SHARE * len(values)) or words <= WORDS):
        return Guess(CATEGORY, note=mixed)
    return Guess(TEXT, note=mixed)


def _list_or_none(value: str) -> list | None:
    try:
        found = cells.listed(value)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def _separator(values: list[str]) -> str:
    """What stands between several labels; "" if cells hold one thing each."""
    for mark in cells.SEPARATORS:
        split = [value.split(mark) for value in values]
        if sum(len(parts) > 1 for parts in split) < SOME * len(values):
            continue
        parts = [part.strip() for found in split for part in found]
        short = sum(len(part.split()) for part in parts) <= WORDS * len(parts)
        if short and len(parts) >= 3 * len(set(parts)) and len(set(parts)) < len(set(values)):
            return mark
    return ""
