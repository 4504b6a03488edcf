"""The rows of each split: as files or a column say, and made where they say nothing."""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Int, Int64

from mmjax.data.splits.assign import assign, folds
from mmjax.data.tables.table import SPLIT_NAMES
from mmjax.errors import UserError, nearest

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
Rows = dict[str, Int64[np.ndarray, " rows"]]
_logger = logging.getLogger(__name__)


def by_names(
    names: Sequence[str | None], where: Callable[[int], str], column: str = "split"
) -> Rows:
    """The rows of each split that a column names.

    Args:
        names: of each row: train, val, valid, validation, dev, test or eval, in any case. Rows
            without one are left out, with a warning.
        where: the place of a row, for messages.
        column: its name, for messages.

    Raises:
        UserError: another name, or nothing to train on.
    """
    found: dict[str, list[int]] = {}
    empty = 0
    for index, name in enumerate(names):
        if name is None:
            empty += 1
            continue
        split = SPLIT_NAMES.get(name.strip().lower())
        if split is None:
            raise UserError(
                f"{where(index)}: {column!r} is {name!r}, no split; {nearest(name, SPLITS)}"
            )
        found.setdefault(split, []).append(index)
    if empty:
        _logger.warning("%d rows have no %r and are left out", empty, column)
    if TRAIN not in found:
        raise UserError(f"column {column!r} has no rows of {TRAIN!r}: nothing to train on")
    return {name: np.array(found[name], np.int64) for name in SPLITS if name in found}


def completed(
    given: Mapping[str, np.ndarray],
    shares: Mapping[str, float | int],
    *,
    seed: int,
    classes: Int[np.ndarray, " all"] | None = None,
    groups: Int[np.ndarray, " all"] | None = None,
) -> Rows:
    """All splits: those that are missing are taken out of the rows of training.

    Args:
        given: rows, by split; those of training at least.
        shares: of each split, of all rows that are in training so far: "train" included, of any
            sum. A split without one is not made.
        seed: of the order.
        classes, groups: of all rows of the table; see assign.

    Raises:
        UserError: a split would have no rows; or a group is in two of the given ones.
    """
    for name in shares:
        if name not in SPLITS:
            raise UserError(f"shares: no split {name!r}; {nearest(name, SPLITS)}")
    missing = [name for name in SPLITS if name not in given and shares.get(name)]
    if groups is not None:
        _check_apart(given, groups)
    train = given[TRAIN]
    if missing:
        names = (TRAIN, *missing)
        parts = assign(
            len(train),
            [shares.get(name, 0.0) for name in names],
            seed=seed,
            classes=None if classes is None else classes[train],
            groups=None if groups is None else groups[train],
        )
        made = {name: train[parts == part] for part, name in enumerate(names)}
    else:
        made = {TRAIN: train}
    found = {
        name: np.asarray({**given, **made}[name]) for name in SPLITS if name in {*given, *made}
    }
    empty = [name for name, rows in found.items() if not len(rows)]
    if empty:
        units = len(train) if groups is None else len(np.unique(groups[train]))
        raise UserError(
            f"split {empty[0]!r} has no rows: {units} {'rows' if groups is None else 'groups'} do"
            " not suffice; give more, or other shares"
        )
    return found


def with_fold(
    given: Mapping[str, np.ndarray],
    fold: tuple[int, int],
    *,
    seed: int,
    classes: Int[np.ndarray, " all"] | None = None,
    groups: Int[np.ndarray, " all"] | None = None,
) -> Rows:
    """The rows of training, and as those of the test one of k folds of them; see `completed`.

    Args:
        given: rows of training, and of nothing else.
        fold: (i, k): the i-th fold, from 0, of k.
        seed, classes, groups: see `completed`.

    Raises:
        UserError: other splits are given, or there is no such fold.
    """
    number, count = fold
    others = [name for name in given if name != TRAIN]
    if others:
        raise UserError(
            f"folds are of all rows, but the data say which are for {' and '.join(others)}: give"
            " files without splits, or set config.data.options.split=''"
        )
    train = given[TRAIN]
    found = folds(
        len(train),
        count,
        seed=seed,
        classes=None if classes is None else classes[train],
        groups=None if groups is None else groups[train],
    )
    if not 0 <= number < count:
        raise UserError(f"fold {number} of {count}: give a number from 0 to {count - 1}")
    kept, out = found[number]
    return {TRAIN: train[kept], TEST: train[out]}


def _check_apart(given: Mapping[str, np.ndarray], groups: np.ndarray) -> None:
    names = list(given)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            both = np.intersect1d(groups[given[one]], groups[given[other]])
            if len(both):
                raise UserError(
                    f"{len(both)} groups are in {one!r} and in {other!r}: put each in one of them"
                )
