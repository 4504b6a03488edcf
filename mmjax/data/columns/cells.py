"""One cell -> what its column's type says that it holds. A cell that cannot be is a ValueError."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmjax.data.columns import dates
from mmjax.data.tables import media

TEXT, CATEGORY, NUMBER, LABELS = "text", "category", "number", "labels"
NUMBERS, DATE, SERIES, EMPTY = "numbers", "date", "series", "empty"
UNKNOWN = "bytes"  # a file of no known kind
# What people write into a cell of numbers or dates that is empty.
MISSING = frozenset(("na", "n/a", "nan", "nat", "null", "none", "-", "--", "?", "."))
POINT, COMMA, THOUSANDS = "1.5", "1,5", "1,000.5"  # how numbers are written
SEPARATORS = ("|", ";", ",")  # of labels
SURROGATE = re.compile("[\ud800-\udfff]")  # which no file can be written with
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_WITH_COMMA = re.compile(r"[+-]?\d+,\d+")


def is_missing(value: Any) -> bool:
    """Whether a cell of numbers or dates is empty."""
    return value is None or (isinstance(value, str) and value.strip().lower() in MISSING)


def number(value: Any, form: str = "") -> float:
    """A number that is finite, as POINT, COMMA or THOUSANDS."""
    if isinstance(value, str):
        text = value.strip()
        if form == COMMA and _WITH_COMMA.fullmatch(text):
            text = text.replace(",", ".")
        elif form == THOUSANDS and _GROUPED.fullmatch(text):
            text = text.replace(",", "")
        if "_" in text:
            raise ValueError(f"{value!r} is no number")
        value = text
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{_short(value)} is no number") from error
    if not math.isfinite(found):
        raise ValueError(f"{_short(value)} is no finite number")
    return found


def number_form(texts: list[str]) -> str:
    """How numbers are written in a column: with a point or a comma before decimals."""
    with_comma = [text.strip() for text in texts if "," in text]
    if not with_comma:
        return POINT
    grouped = all(_GROUPED.fullmatch(text) and text[:2] != "0," for text in with_comma)
    return THOUSANDS if grouped else COMMA


def date(value: Any, form: str = "") -> Any:
    """A datetime; see dates.parse."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return dates.parse(str(value), form)


def category(value: Any, form: str = "") -> str:
    """A word or number as a string."""
    del form
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError(f"{_short(value)} is {type(value).__name__}, not a word")


def text(value: Any, form: str = "") -> str:
    """A string."""
    del form
    if isinstance(value, (str, int, float)):
        found = str(value)
        if SURROGATE.search(found):
            raise ValueError(f"{_short(value)} holds half of a character (a lone surrogate)")
        return found
    raise ValueError(f"{_short(value)} is {type(value).__name__}, not a text")


def labels(value: Any, form: str = "") -> tuple[str, ...]:
    """Several words: a list, one in JSON, or a text with `form` between them."""
    if isinstance(value, str) and value.strip().startswith("["):
        value = _json(value)
    if isinstance(value, str):
        found = value.split(form) if form else [value]
        return tuple(dict.fromkeys(part.strip() for part in found if part.strip()))
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list):
        value = [value]
    return tuple(dict.fromkeys(category(part) for part in value))


def numbers(value: Any, form: str = "") -> np.ndarray:
    """A list of numbers as float64 [F]; what is missing is NaN."""
    return _array(value, 1, form)


def series(value: Any, form: str = "") -> np.ndarray:
    """Numbers over time as float64 [T F]; a list of numbers has one feature."""
    array = _array(value, 0, form)
    if array.ndim > 2:
        raise ValueError(f"numbers of shape {list(array.shape)}, not [steps features]")
    return array[:, None] if array.ndim == 1 else array


def listed(value: Any) -> Any:
    """A list or array, from one in JSON too."""
    if isinstance(value, str) and value.strip().startswith("["):
        return _json(value)
    return value


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{_short(value)} is no list in JSON") from error


def _array(value: Any, axes: int, form: str) -> np.ndarray:
    del form
    value = listed(value)
    if not isinstance(value, (list, np.ndarray)):
        raise ValueError(f"{_short(value)} is no list of numbers")
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{_short(value)}: no numbers, or lists of different lengths") from error
    if array.ndim == 0 or (axes and array.ndim != axes):
        raise ValueError(f"numbers of shape {list(array.shape)}, not a list")
    if np.isinf(array).any():
        raise ValueError("a number is infinite")
    return array


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:57]}..."


def _media(value: Any, form: str = "") -> Any:
    del form
    if isinstance(value, (str, bytes, np.ndarray)):
        return value
    raise ValueError(f"{_short(value)} is {type(value).__name__}, not a path or a file")


# To add a type, add what makes of a cell what the type holds.
PARSERS: Mapping[str, Callable[..., Any]] = {
    NUMBER: number,
    DATE: date,
    CATEGORY: category,
    LABELS: labels,
    NUMBERS: numbers,
    SERIES: series,
    TEXT: text,
    media.IMAGE: _media,
    media.AUDIO: _media,
    media.VIDEO: _media,
}
BLANKS = (NUMBER, DATE)  # types of which a cell of MISSING is empty


def parse(kind: str, value: Any, form: str = "") -> Any:
    """What a cell of a column holds; None if it is empty.

    Args:
        kind: of the column, in PARSERS.
        value: of the cell.
        form: how it is written: of numbers, dates and labels.

    Raises:
        ValueError: it holds no such thing.
    """
    if value is None or (kind in BLANKS and is_missing(value)):
        return None
    if isinstance(value, str) and not value.strip():
        return None
    return PARSERS[kind](value, form)


def parse_all(kind: str, values: Sequence[Any], form: str = "") -> list[Any]:
    """What many cells of a column hold, as `parse`, but each number that is missing may be NaN.

    Raises:
        ValueError: one of them holds no such thing.
    """
    if all(value is None or type(value) is str for value in values):
        if kind == NUMBER:
            found = _plain_numbers(values)
            if found is not None:
                return found
        known = {value: parse(kind, value, form) for value in dict.fromkeys(values)}
        return [known[value] for value in values]
    return [parse(kind, value, form) for value in values]


def _plain_numbers(texts: Sequence[str | None]) -> list[float] | None:
    """Numbers written with a point, or nothing; None where one of them is written otherwise."""
    try:
        found = [math.nan if text is None else float(text) for text in texts]
    except ValueError:
        return None
    plain = all(
        text is None or (math.isfinite(value) and "_" not in text)
        for text, value in zip(texts, found, strict=True)
    )
    return found if plain else None
