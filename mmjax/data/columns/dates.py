"""Dates and times as people write them -> numbers.

A date is seven features: the days since 2000-01-01 (with the time of day as a fraction; negative
before), and a sine and a cosine each of where in the year, in the week and in the day it is, so
that December is near January. Days are in UTC where the cell says its zone; the three cycles are
those of the clock on the wall. As a target a date is the number of days.
"""

import datetime
import math
import re

import numpy as np
from jaxtyping import Float64

EPOCH = datetime.datetime(2000, 1, 1)
FEATURES = ("days", "year sin", "year cos", "week sin", "week cos", "day sin", "day cos")
YEAR, DAY_FIRST, MONTH_FIRST = "YMD", "DMY", "MDY"  # the order of what is ambiguous
ORDERS = (YEAR, DAY_FIRST, MONTH_FIRST)

_TIME = (
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?P<part>\.\d+)?)?"
    r"\s*(?P<zone>Z|[+-]\d\d:?\d\d)?)?"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NUMBERS = re.compile(
    r"(?:(?P<y>\d{4})(?P<mark>[-/.]?)(?P<m>\d\d?)(?P=mark)(?P<d>\d\d?)"
    r"|(?P<first>\d\d?)(?P<between>[-/.])(?P<second_>\d\d?)(?P=between)(?P<year>\d{4}))" + _TIME
)
_WORDS = re.compile(
    r"(?:(?P<d>\d\d?)\.?[ -](?P<m>[A-Za-z]{3,9})\.?[ ,-]+"
    r"|(?P<m2>[A-Za-z]{3,9})\.? (?P<d2>\d\d?),? )(?P<y>\d{4})" + _TIME
)


def parse(text: str, order: str = "") -> datetime.datetime:
    """A date, with or without a time: 1969-07-20, 1969/7/20, 19690720, 1969-07-20T20:17:40Z,
    20.07.1969, 20/07/1969 or 07/20/1969, 20 Jul 1969, July 20, 1969.

    Args:
        text: a cell.
        order: DAY_FIRST or MONTH_FIRST for numbers with / or - between them; "" if only one of
            them is a date. With points the day is always first.

    Raises:
        ValueError: it is none of these, there is no such day, or two are possible.
    """
    text = text.strip()
    match = _NUMBERS.fullmatch(text)
    if match is not None:
        if match["y"]:
            return _made(match, match["y"], match["m"], match["d"])
        first, second = match["first"], match["second_"]
        if match["between"] == "." or order == DAY_FIRST:
            return _made(match, match["year"], second, first)
        if order == MONTH_FIRST:
            return _made(match, match["year"], first, second)
        if int(first) <= 12 and int(second) <= 12 and first != second:
            raise ValueError(f"{text!r} may be two days: say which is first, day or month")
        day, month = (second, first) if int(second) > 12 else (first, second)
        return _made(match, match["year"], month, day)
    match = _WORDS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no date")
    word = (match["m"] or match["m2"])[:3].lower()
    if word not in _MONTHS:
        raise ValueError(f"{text!r} is no date")
    return _made(match, match["y"], str(_MONTHS.index(word) + 1), match["d"] or match["d2"])


def _made(match: re.Match[str], year: str, month: str, day: str) -> datetime.datetime:
    part = round(float(match["part"] or 0) * 1e6)
    clock = [int(match[name] or 0) for name in ("hour", "minute", "second")]
    zone = None
    if match["zone"]:
        text = match["zone"].replace("Z", "+0000").replace(":", "")
        minutes = int(text[1:3]) * 60 + int(text[3:])
        zone = datetime.timezone(
            datetime.timedelta(minutes=minutes if text[0] == "+" else -minutes)
        )
    made = datetime.datetime(int(year), int(month), int(day), *clock, tzinfo=zone)
    return made + datetime.timedelta(microseconds=part)


def order_of(texts: list[str]) -> str:
    """The order in which most of these are dates: the year, the day or the month first.

    Where days and months cannot be told apart, the month comes first, as in the United States, and
    with points between them the day.
    """
    found = [match for match in map(_NUMBERS.fullmatch, map(str.strip, texts)) if match]
    pairs = [(int(m["first"]), int(m["second_"]), m["between"]) for m in found if m["first"]]
    if not pairs:
        return YEAR
    days = sum(first > 12 or between == "." for first, _, between in pairs)
    months = sum(second > 12 for _, second, between in pairs if between != ".")
    return DAY_FIRST if days > months else MONTH_FIRST


def days(date: datetime.datetime) -> float:
    """Days since 2000-01-01, in UTC if the date says its zone."""
    offset = date.utcoffset() or datetime.timedelta()
    return (date.replace(tzinfo=None) - offset - EPOCH) / datetime.timedelta(days=1)


def features(date: datetime.datetime) -> Float64[np.ndarray, "7"]:
    """The numbers of a date, in the order of FEATURES."""
    clock = (date.hour * 3600 + date.minute * 60 + date.second + date.microsecond / 1e6) / 86400
    length = 366 if date.year % 4 == 0 and (date.year % 100 or date.year % 400 == 0) else 365
    cycles = (
        (date.timetuple().tm_yday - 1 + clock) / length,
        (date.weekday() + clock) / 7,
        clock,
    )
    turns = [f(2 * math.pi * share) for share in cycles for f in (math.sin, math.cos)]
    return np.array([days(date), *turns])
