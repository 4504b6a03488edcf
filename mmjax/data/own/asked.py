"""Columns -> targets: what is asked of every row."""

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from mmjax.data.columns.cells import CATEGORY, DATE, EMPTY, LABELS, NUMBER, TEXT
from mmjax.data.columns.infer import Column
from mmjax.data.columns.vocabulary import ordered, warn_of_alike
from mmjax.data.own.collect import Collected, Lists, Words
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError, nearest

KINDS = (CATEGORY, NUMBER, DATE, LABELS, TEXT)  # types of columns that may be asked for
_SAID = 5  # classes in a message
_logger = logging.getLogger(__name__)


def check_target(where: str, column: Column) -> None:
    """Raises a UserError for a column that cannot be a target."""
    if column.type == EMPTY:
        raise UserError(f"{where}: target {column.name!r} is empty in all rows: nothing to learn")
    if column.type not in KINDS:
        raise UserError(
            f"{where}: target {column.name!r} is of type {column.type}, not one of"
            f" {', '.join(KINDS)}; choose another column, or say types.{column.name}"
        )
    if column.problem:
        raise UserError(f"{where}: target {column.name!r}: {column.problem}")


def make_target(
    where: str, column: Column, collected: Collected, train: Int64[np.ndarray, " rows"]
) -> Target:
    """The target of all rows of a table; False in its mask where a cell is empty.

    Classes are those of all splits, so that every score counts every row; a class that training
    lacks is warned of, and so are names that differ only by case or spaces.

    Args:
        where: the table, for messages.
        column: of the table.
        collected: of all rows.
        train: rows of training.

    Raises:
        UserError: the rows of training have no or one class, or the same number, or no text.
    """
    values = collected.columns[column.name]
    makers = {CATEGORY: _of_words, LABELS: _of_lists, TEXT: _of_texts}
    return makers.get(column.type, _of_numbers)(where, column.name, values, train)


def known_target(
    where: str, column: Column, collected: Collected, classes: Sequence[str]
) -> Target:
    """The target of all rows of a table, with the classes of a run; False in its mask as above.

    Args:
        where: the table, for messages.
        column: of the table that the run was trained on.
        collected: of all rows.
        classes: of the run, in their order; of numbers and texts they are not read.

    Raises:
        UserError: a class that the run does not know.
    """
    found = collected.columns[column.name]
    if column.type not in _CODED:
        return _PLAIN.get(column.type, _numbers)(found)
    new = sorted(set(found.words) - set(classes))
    if new:
        some = ", ".join(map(repr, new[:_SAID]))
        raise UserError(
            f"{where}: target {column.name!r} holds {some}, which the model does not know: correct"
            f" these rows, or leave them out; {nearest(new[0], classes)}"
        )
    return _CODED[column.type](found, tuple(classes))


def _of_words(where: str, name: str, found: Words, train: np.ndarray) -> Target:
    return _words(found, _all_classes(where, name, found, train, least=2))


def _of_lists(where: str, name: str, found: Lists, train: np.ndarray) -> Target:
    return _lists(found, _all_classes(where, name, found, train, least=1))


def _of_numbers(where: str, name: str, found: np.ndarray, train: np.ndarray) -> Target:
    known = found[train][~np.isnan(found[train])]
    if not len(known) or known.min() == known.max():
        said = f"is always {known[0]:g}" if len(known) else "is empty in all rows of training"
        raise UserError(f"{where}: target {name!r} {said}: nothing to learn; choose another")
    if np.abs(known).max() > np.finfo(np.float32).max:
        raise UserError(f"{where}: target {name!r} has numbers too large for float32: scale them")
    return _numbers(found)


def _of_texts(where: str, name: str, found: list[str | None], train: np.ndarray) -> Target:
    if all(found[index] is None for index in train.tolist()):
        raise UserError(f"{where}: target {name!r} is empty in all rows of training")
    return _texts(found)


def _words(found: Words, classes: tuple[str, ...]) -> Target:
    places = {word: place for place, word in enumerate(classes)}
    order = np.array([*(places[word] for word in found.words), 0], np.int32)
    return Target(order[found.codes], classes, _mask(found.codes >= 0))


def _lists(found: Lists, classes: tuple[str, ...]) -> Target:
    places = {word: place for place, word in enumerate(classes)}
    order = np.array([places[word] for word in found.words], np.int32)
    values = np.zeros((len(found.ends), len(classes)), np.float32)
    rows = np.repeat(np.arange(len(found.ends)), np.diff(found.ends, prepend=0))
    values[rows, order[found.codes]] = 1
    return Target(values, classes, _mask(found.there))


def _numbers(found: np.ndarray) -> Target:
    there = ~np.isnan(found)
    return Target(np.where(there, found, 0).astype(np.float32), (), _mask(there))


def _texts(found: list[str | None]) -> Target:
    there = np.array([text is not None for text in found], bool)
    return Target([text or "" for text in found], (), _mask(there))


_CODED = {CATEGORY: _words, LABELS: _lists}
_PLAIN = {TEXT: _texts}


def _mask(there: np.ndarray) -> np.ndarray | None:
    return None if there.all() else np.asarray(there)


def _classes(
    where: str, name: str, found: Words | Lists, train: np.ndarray, least: int
) -> dict[str, int]:
    counts = found.counts(train)
    if len(counts) < least:
        said = ", ".join(f"{word!r} ({count} rows)" for word, count in counts.items()) or "none"
        raise UserError(
            f"{where}: target {name!r} has {len(counts)} class{'' if len(counts) == 1 else 'es'} in"
            f" training ({said}): nothing to learn; choose another target"
        )
    warn_of_alike(where, name, found.counts())
    return counts


def _all_classes(
    where: str, name: str, found: Words | Lists, train: np.ndarray, least: int
) -> tuple[str, ...]:
    of_train = _classes(where, name, found, train, least)
    classes = ordered(found.words)
    _warn_of_new(where, name, set(classes) - set(of_train))
    return classes


def _warn_of_new(where: str, name: str, words: set[str]) -> None:
    if words:
        some = ", ".join(map(repr, sorted(words)[:_SAID]))
        more = " and more" if len(words) > _SAID else ""
        _logger.warning(
            "%s: target %r has %d classes that training lacks (%s%s): they cannot be learned",
            *(where, name, len(words), some, more),
        )


def subset(target: Target, rows: Int64[np.ndarray, " rows"]) -> Target:
    """The target of some rows."""
    is_array = isinstance(target.values, np.ndarray)
    values = target.values[rows] if is_array else [target.values[i] for i in rows.tolist()]
    return Target(values, target.classes, None if target.mask is None else target.mask[rows])
