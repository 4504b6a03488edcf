"""Numbers, categories, several labels and dates of a row -> one vector of features.

A number is one feature, a date seven (see dates), a category one for each word of training and one
for words that it did not have; several labels are the same with any number of ones. A one among
zeros meets the first dense layer of an encoder as the word's own row of weights, which is what an
embedding is. What is empty is missing by mask: NaN here.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from mmjax.data.columns import dates
from mmjax.data.columns.cells import CATEGORY, DATE, LABELS, NUMBER
from mmjax.data.columns.infer import Column
from mmjax.data.columns.vocabulary import UNSEEN, Vocabulary
from mmjax.data.pipeline.scaling import Scale, measure

KINDS = (NUMBER, CATEGORY, LABELS, DATE)  # the types of columns that are features
MAX_WORDS = 256  # of a column; the rest are unseen


@dataclasses.dataclass(frozen=True)
class Features:
    """What makes a vector of some columns.

    columns: of a type in KINDS.
    vocabularies: of those of words, by name.
    """

    columns: tuple[Column, ...]
    vocabularies: Mapping[str, Vocabulary]

    def names(self) -> tuple[str, ...]:
        """What each feature is: "age", "color=red", "born days"."""
        return tuple(name for column in self.columns for name in self._names(column))

    def _names(self, column: Column) -> tuple[str, ...]:
        if column.type == NUMBER:
            return (column.name,)
        if column.type == DATE:
            return tuple(f"{column.name} {part}" for part in dates.FEATURES)
        words = (UNSEEN, *self.vocabularies[column.name].words)
        return tuple(f"{column.name}={word}" for word in words)

    def __len__(self) -> int:
        return self._length

    @functools.cached_property
    def _length(self) -> int:
        return len(self.names())

    def parse(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """What the cells of a row hold, by column; None for what is missing.

        Raises:
            ValueError: a cell is not of the type of its column.
        """
        found = []
        for column in self.columns:
            try:
                found.append(column.parse(row[column.name]))
            except ValueError as error:
                raise ValueError(f"{column.name}: {error}") from error
        return tuple(found)

    def vector(self, row: Mapping[str, Any]) -> Float64[np.ndarray, " F"]:
        """The features of one row; raises as `parse`."""
        return self.vectors([self.parse(row)])[0]

    def vectors(self, rows: Sequence[tuple[Any, ...] | None]) -> Float64[np.ndarray, "B F"]:
        """The features of rows that were parsed; NaN for what is missing, and None is missing."""
        found, at = np.full((len(rows), len(self)), np.nan), 0
        for place, column in enumerate(self.columns):
            there = [i for i, row in enumerate(rows) if row is not None and row[place] is not None]
            part = self._part(column, [rows[i][place] for i in there])
            found[there, at : at + part.shape[1]] = part
            at += part.shape[1]
        return found

    def _part(self, column: Column, values: list[Any]) -> Float64[np.ndarray, "B F"]:
        if column.type == NUMBER:
            return np.array(values, np.float64)[:, None]
        if column.type == DATE:
            days = [dates.features(value) for value in values]
            return np.array(days).reshape(len(values), len(dates.FEATURES))
        vocabulary = self.vocabularies[column.name]
        part = np.zeros((len(values), len(vocabulary)))
        if column.type == CATEGORY:
            part[np.arange(len(values)), [vocabulary.number(word) for word in values]] = 1
        else:
            for i, words in enumerate(values):
                part[i, [vocabulary.number(word) for word in words]] = 1
        return part

    def scale(self, numbers: Mapping[str, Float64[np.ndarray, " rows"]]) -> Scale:
        """The scale of the features: numbers and days by training, all others as they are.

        Args:
            numbers: of each column of numbers or dates the values of training (days), NaN where
                missing.
        """
        mean, deviation, at = np.zeros(len(self)), np.ones(len(self)), 0
        for column in self.columns:
            if column.name in numbers:
                values = numbers[column.name][:, None]
                found = measure(values, ~np.isnan(values))
                mean[at], deviation[at] = found.mean[0], found.deviation[0]
            at += len(self._names(column))
        return Scale(mean, deviation)


def is_feature(column: Column) -> bool:
    """Whether a column makes features."""
    return column.type in KINDS and not column.problem
