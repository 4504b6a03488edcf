"""Files, and what is asked about them -> splits, columns and targets."""

import dataclasses
import itertools
import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from mmjax.data.columns.cells import CATEGORY, DATE, LABELS, NUMBER
from mmjax.data.columns.infer import Column, infer_columns
from mmjax.data.own.asked import check_target, make_target, subset
from mmjax.data.own.cache import Cache
from mmjax.data.own.collect import Collected, Words, collect
from mmjax.data.own.examples import TableSplit
from mmjax.data.own.inputs import Wanted, choose
from mmjax.data.own.measured import with_features
from mmjax.data.pipeline.scaling import Scale
from mmjax.data.splits import leaks
from mmjax.data.splits.choose import SPLITS, TRAIN, by_names, completed, with_fold
from mmjax.data.tables import media, memory
from mmjax.data.tables.opening import open_table
from mmjax.data.tables.records import fingerprint
from mmjax.data.tables.table import SPLIT, SPLIT_NAMES, Joined, Table
from mmjax.errors import UserError, nearest

SHARES = MappingProxyType({"train": 0.8, "validation": 0.1, "test": 0.1})
_SPLIT, _GROUP, _SLICE_BY = "\0split", "\0group", "\0slice"  # beside columns of any name
_EMPTY = "(empty)"
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Own:
    """A user's own data.

    splits: by name: train, validation and test.
    columns: of the table, as they were guessed or told; see columns.shown.print_columns.
    inputs: what each modality reads, with its kind.
    scales: of vectors and series, by modality; see pipeline.scaling.
    table: of all rows.
    """

    splits: Mapping[str, TableSplit]
    columns: Mapping[str, Column]
    inputs: Mapping[str, Wanted]
    scales: Mapping[str, Scale]
    table: Table

    def fingerprint(self) -> str:
        """Another one for other rows: a run that goes on may ask whether its data are the same."""
        return fingerprint(self.table)


def own_data(
    files: Any,
    *,
    target: str | Sequence[str],
    types: Mapping[str, str] | None = None,
    inputs: Mapping[str, str | Sequence[str]] | None = None,
    split: str | None = None,
    group: str = "",
    slice_by: str = "",
    shares: Mapping[str, float | int] = SHARES,
    seed: int = 0,
    fold: tuple[int, int] | None = None,
    root: str = "",
    indices: str = "",
    sample: int = 1000,
    cache: bool = False,
) -> Own:
    """Opens a user's data and says what each row holds and what is asked of it.

    Args:
        files: whatever open_table takes, or that by split: {"train": ..., "test": ...}.
        target: the column that is to be predicted, or several, or none.
        types: of columns, where the guesses are wrong; see infer_columns.
        inputs: the columns of each modality; None for all that are left, see inputs.choose.
        split: the column that says the split; "" for none; None for one called `split`, if all its
            cells are names of splits.
        group: a column whose equal cells must be in one split: patients, speakers.
        slice_by: a column of categories; metrics are also reported for each of them.
        shares: of the splits that are made, because neither files nor a column say them. They have
            about the same share of each class of the first target.
        seed: of these splits.
        fold: (i, k): the test split is fold i, from 0, of k.
        root: where files are that cells name; see media.resolve.
        indices: a folder where the indices of files are kept; "" for nowhere.
        sample: rows that are looked at to guess types.
        cache: keep decoded files in memory, as long as they fit into cache.SIZE.

    Raises:
        UserError: whatever is wrong with the data, in one line.
    """
    table, given = _opened(files, indices)
    targets = [target] if isinstance(target, str) else list(target)
    for name in (*targets, *(n for n in (split, group, slice_by) if n)):
        if name not in table.columns:
            raise UserError(f"{table.name}: no column {name!r}; {nearest(name, table.columns)}")
    columns = infer_columns(table, sample, types, root)
    if split is None:
        split = "" if given else _split_column(table, columns)
    for name in targets:
        check_target(table.name, columns[name])
    taken = dict.fromkeys((*targets, *(name for name in (split, group) if name)))
    chosen = choose(table.name, columns, inputs, tuple(taken), root)
    collected = collect(table, _needed(columns, chosen, targets, split, group, slice_by))
    splits = _splits(table, given, collected, next(iter(targets), None), split, shares, seed, fold)
    made = {
        name: make_target(table.name, columns[name], collected, splits[TRAIN]) for name in targets
    }
    chosen, scales = with_features(table, chosen, collected, splits[TRAIN])
    _warn_of_leaks(table, chosen, collected, splits, root)
    decoded = Cache() if cache else None
    slice_ids, slices = reported(collected.columns.get(_SLICE_BY), len(table))
    return Own(
        splits={
            name: TableSplit(
                name=f"{table.name}/{name}",
                table=table,
                rows=rows,
                inputs=chosen,
                targets={key: subset(value, rows) for key, value in made.items()},
                slice_ids=slice_ids[rows],
                slices=slices,
                columns=columns,
                scales=scales,
                cache=decoded,
            )
            for name, rows in splits.items()
        },
        columns=columns,
        inputs=chosen,
        scales=scales,
        table=table,
    )


def is_by_split(files: Any) -> bool:
    """Whether data are given by split, such as {"train": ..., "test": ...}, and not by column."""
    return (
        isinstance(files, Mapping)
        and bool(files)
        and all(str(name).lower() in SPLIT_NAMES for name in files)
        and not any(isinstance(value, np.ndarray) for value in files.values())
    )


def _opened(files: Any, indices: str) -> tuple[Table, dict[str, np.ndarray]]:
    """The table of all rows, and those of each split where the files say them."""
    if not is_by_split(files):
        memory.refuse_description(files)
        return open_table(files, cache=indices), {}
    for value in files.values():
        memory.refuse_description(value)
    tables = {
        SPLIT_NAMES[str(name).lower()]: open_table(value, cache=indices)
        for name, value in files.items()
    }
    if TRAIN not in tables or len(tables) < len(files):
        raise UserError(f"files of {', '.join(map(str, files))}: give each of {', '.join(SPLITS)}")
    ends = np.cumsum([0, *map(len, tables.values())])
    rows = {
        name: np.arange(start, stop)
        for name, (start, stop) in zip(tables, itertools.pairwise(ends.tolist()), strict=True)
    }
    return (Joined(list(tables.values())) if len(tables) > 1 else tables[TRAIN]), rows


def _split_column(table: Table, columns: Mapping[str, Column]) -> str:
    column = columns.get(SPLIT)
    if column is None or column.type != CATEGORY:
        return ""
    if not all(example.strip().lower() in SPLIT_NAMES for example in column.examples):
        return ""
    _logger.info("%s: the column %r says the splits", table.name, SPLIT)
    return SPLIT


def _needed(
    columns: Mapping[str, Column],
    inputs: Mapping[str, Wanted],
    targets: Sequence[str],
    split: str,
    group: str,
    slice_by: str,
) -> dict[str, Column]:
    """The columns that are to be known of all rows."""
    read = [column for wanted in inputs.values() for column in wanted.columns]
    is_name = {c.name for c in read if c.type in media.ENDINGS and not c.inside}
    is_feature = {c.name for c in read if c.type in (NUMBER, CATEGORY, LABELS, DATE)}
    found = {c.name: c for c in columns.values() if c.name in {*is_name, *is_feature, *targets}}
    for key, name in ((_SPLIT, split), (_GROUP, group), (_SLICE_BY, slice_by)):
        if name:
            found[key] = dataclasses.replace(columns[name], type=CATEGORY, form="")
    return found


def _splits(
    table: Table,
    given: Mapping[str, np.ndarray],
    collected: Collected,
    target: str | None,
    split: str,
    shares: Mapping[str, float | int],
    seed: int,
    fold: tuple[int, int] | None,
) -> dict[str, np.ndarray]:
    found = collected.columns
    if split and not given:
        words = found[_SPLIT]
        names = [words.words[code] if code >= 0 else None for code in words.codes.tolist()]
        given = by_names(names, table.where, split)
    labels = None if target is None else found[target]
    classes = labels.codes if isinstance(labels, Words) else None
    groups = _groups(found[_GROUP]) if _GROUP in found else None
    given = given or {TRAIN: np.arange(len(table))}
    if fold is not None:
        given = with_fold(given, fold, seed=seed, classes=classes, groups=groups)
    return completed(given, shares, seed=seed, classes=classes, groups=groups)


def _groups(found: Words) -> np.ndarray:
    """A number for each group; a row without one is a group of its own."""
    alone = len(found.words) + np.arange(len(found.codes))
    return np.where(found.codes >= 0, found.codes, alone)


def _warn_of_leaks(
    table: Table,
    inputs: Mapping[str, Wanted],
    collected: Collected,
    splits: Mapping[str, np.ndarray],
    root: str,
) -> None:
    for wanted in inputs.values():
        for column in wanted.columns:
            if column.type not in media.ENDINGS:
                continue
            names = collected.columns.get(column.name)
            if names is None or not leaks.warn_of_names(table, column.name, splits, names):
                leaks.warn_of_contents(table, column.name, splits, root)


def reported(found: Words | None, rows: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """The slice of each row, and the names of the slices; one of all rows without a column."""
    if found is None:
        return np.zeros(rows, np.int32), ("all",)
    lacking = bool((found.codes < 0).any())
    slice_ids = np.where(found.codes < 0, len(found.words), found.codes).astype(np.int32)
    return slice_ids, (*found.words, *([_EMPTY] if lacking else []))
