"""What inputs learn from the rows of training: words, and the scale of numbers."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64

from mmjax.data.columns.cells import CATEGORY, DATE, LABELS, NUMBER, NUMBERS, SERIES
from mmjax.data.columns.features import MAX_WORDS, Features
from mmjax.data.columns.infer import Column
from mmjax.data.columns.vocabulary import most_frequent, warn_of_alike
from mmjax.data.own.collect import Collected, row_of
from mmjax.data.own.inputs import Wanted
from mmjax.data.pipeline.scaling import Scale, measure
from mmjax.data.tables.table import Table
from mmjax.errors import UserError

MEASURED = 4096  # rows by which lists of numbers and series are scaled


def with_features(
    table: Table,
    inputs: Mapping[str, Wanted],
    collected: Collected,
    train: Int64[np.ndarray, " rows"],
) -> tuple[dict[str, Wanted], dict[str, Scale]]:
    """The inputs with their words, and the scales of vectors and series, by modality.

    Numbers and dates are scaled by all rows of training; lists of numbers and series by MEASURED of
    them, evenly spaced.

    Args:
        table: of all rows.
        inputs: by modality, still without their words.
        collected: of all rows of the table.
        train: the rows of training.
    """
    made, scales = {}, {}
    for name, wanted in inputs.items():
        made[name] = wanted
        types = {column.type for column in wanted.columns}
        if types <= {NUMBERS, SERIES}:
            scale = _scale(table, wanted.columns[0], train)
            scales |= {} if scale is None else {name: scale}
        elif types <= {NUMBER, DATE, CATEGORY, LABELS}:
            features = _features(table.name, wanted.columns, collected, train)
            numbers = {
                column.name: collected.columns[column.name][train]
                for column in wanted.columns
                if column.type in (NUMBER, DATE)
            }
            made[name] = dataclasses.replace(wanted, features=features)
            scales[name] = features.scale(numbers)
    return made, scales


def _features(
    where: str, columns: tuple[Column, ...], collected: Collected, train: np.ndarray
) -> Features:
    vocabularies = {}
    for column in columns:
        if column.type in (CATEGORY, LABELS):
            counts = collected.columns[column.name].counts(train)
            warn_of_alike(where, column.name, counts)
            vocabularies[column.name] = most_frequent(counts, MAX_WORDS)
    return Features(columns, vocabularies)


def _scale(table: Table, column: Column, train: np.ndarray) -> Scale | None:
    """The scale of lists or series by some rows; None if they are not of one width."""
    found = []
    for index in train[:: max(1, len(train) // MEASURED)][:MEASURED].tolist():
        try:
            (value,) = row_of(table, index, [column], [column.name])
        except UserError:
            continue  # it is counted when the row is used
        if value is not None:
            found.append(np.atleast_2d(value))
    if not found or len({array.shape[1] for array in found}) > 1:
        return None
    values = np.concatenate(found)
    return measure(values, ~np.isnan(values))
