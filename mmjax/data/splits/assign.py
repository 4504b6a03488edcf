"""Rows -> parts of given shares: at random, alike in each class, and no group in two of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int64

from mmjax.errors import UserError

MAX_COUNTS = 10**7  # groups times classes; with more, classes are not looked at


def assign(
    rows: int,
    shares: Sequence[float | int],
    *,
    seed: int,
    classes: Int[np.ndarray, " rows"] | None = None,
    groups: Int[np.ndarray, " rows"] | None = None,
) -> Int64[np.ndarray, " rows"]:
    """The part of each row.

    Args:
        rows: how many there are.
        shares: of each part, of any sum.
        seed: of the order of rows or groups.
        classes: of the rows; each part has about its share of each of them.
        groups: of the rows; all rows of a group are in one part.

    Raises:
        UserError: shares that are no numbers above 0.
    """
    if not shares or not all(np.isfinite(share) and share > 0 for share in shares):
        raise UserError(f"shares {tuple(shares)}: give numbers above 0, such as (0.8, 0.1, 0.1)")
    wanted = np.asarray(shares, np.float64) / np.sum(shares)
    rng = np.random.default_rng(seed)
    if groups is not None:
        return _grouped(rows, wanted, rng, classes, groups)
    order = rng.permutation(rows)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    parts = np.empty(rows, np.int64)
    parts[order] = _spread(rows, wanted.tolist())
    return parts


def _spread(count: int, shares: list[float]) -> list[int]:
    """Parts in turn, so that any stretch of them has about its share of each."""
    owed, found = [0.0] * len(shares), []
    for _ in range(count):
        owed = [debt + share for debt, share in zip(owed, shares, strict=True)]
        part = owed.index(max(owed))
        owed[part] -= 1
        found.append(part)
    return found


def _grouped(
    rows: int,
    shares: np.ndarray,
    rng: np.random.Generator,
    classes: np.ndarray | None,
    groups: np.ndarray,
) -> np.ndarray:
    """The largest group first, each to the part that most lacks what it holds."""
    _, numbers = np.unique(groups, return_inverse=True)
    count = int(numbers.max()) + 1 if rows else 0
    kinds = np.zeros(rows, np.int64)
    if classes is not None:
        _, kinds = np.unique(classes, return_inverse=True)
        if count * (int(kinds.max(initial=0)) + 1) > MAX_COUNTS:
            kinds = np.zeros(rows, np.int64)
    held = np.zeros((count, int(kinds.max(initial=0)) + 1))
    np.add.at(held, (numbers, kinds), 1)
    lacking = shares[:, None] * held.sum(axis=0)  # [parts classes]
    of_group = np.zeros(count, np.int64)
    order = rng.permutation(count)
    for group in order[np.argsort(-held[order].sum(axis=1), kind="stable")]:
        part = int(np.argmax(lacking @ held[group]))
        of_group[group] = part
        lacking[part] -= held[group]
    return of_group[numbers]


def folds(
    rows: int,
    count: int,
    *,
    seed: int,
    classes: Int[np.ndarray, " rows"] | None = None,
    groups: Int[np.ndarray, " rows"] | None = None,
) -> list[tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " validation"]]]:
    """The rows of training and validation of each fold; each row is once in validation.

    Args:
        rows: how many there are.
        count: of folds.
        seed, classes, groups: see assign.

    Raises:
        UserError: fewer than 2 folds, or more than there are rows or groups.
    """
    units = rows if groups is None else len(np.unique(groups))
    if not 2 <= count <= units:
        what = "rows" if groups is None else "groups"
        raise UserError(f"{count} folds of {units} {what}: give 2 to {units}")
    parts = assign(rows, [1.0] * count, seed=seed, classes=classes, groups=groups)
    return [(np.flatnonzero(parts != fold), np.flatnonzero(parts == fold)) for fold in range(count)]
