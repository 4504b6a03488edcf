"""A user's own files as a data set: config.data.name = "own"."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmjax.data.own.examples import TableSplit
from mmjax.data.own.own import own_data
from mmjax.errors import UserError


def own(
    *,
    files: Any = (),
    target: str | tuple[str, ...] = (),
    columns: Mapping[str, str | Sequence[str]] | None = None,
    types: Mapping[str, str] | None = None,
    split: str | None = None,
    group: str = "",
    slice_by: str = "",
    validation: float = 0.1,
    test: float = 0.1,
    fold: int = 0,
    folds: int = 0,
    root: str = "",
    sample: int = 1000,
    dir: str = "",  # noqa: A002 - the name of config.data.dir
    seed: int = 0,
    cache: bool = True,
) -> dict[str, TableSplit]:
    """Files with a row for each example: tables, tar shards, ArrayRecord, folders of classes.

    Args:
        files: a path, pattern, folder or URL, or several; or these by split.
        target: the column that is to be predicted, or several.
        columns: the columns that each modality reads; none: all that are left.
        types: of columns whose type is guessed wrongly.
        split: the column that says the split; "": none; None: one called `split`, if there is one.
        group: a column whose equal cells must be in one split, such as a patient.
        slice_by: a column of categories; metrics are also reported for each of them.
        validation, test: shares of the rows, where nothing says the split.
        fold, folds: the test split is this fold, from 0, of so many; 0 folds: none.
        root: where the files are that cells name.
        sample: rows that are looked at to guess types.
        dir: where the indices of files are kept; "": nowhere.
        seed: of the splits that are made.
        cache: keep decoded files in memory, up to 1 GiB in each process.

    Raises:
        UserError: whatever is wrong with the data, in one line.
    """
    if isinstance(files, (str, tuple, list, dict)) and not files:
        raise UserError("config.data.files is missing: name yours, such as 'train.csv'")
    return dict(
        own_data(
            files,
            target=target,
            types=types,
            inputs=columns or None,
            split=split,
            group=group,
            slice_by=slice_by,
            shares={"train": 1 - validation - test, "validation": validation, "test": test},
            seed=seed,
            fold=(fold, folds) if folds else None,
            root=root,
            indices=dir,
            sample=sample,
            cache=cache,
        ).splits
    )
