"""Class imbalance: how often each class occurs, and how often its examples should be drawn."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from mmjax.data.sources.source import Source
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError

# A class is drawn in proportion to the power of its count: 1 would leave all as it is.
POWERS = {"balanced": 0.0, "square_root": 0.5}


def row_labels(split: Any, target: Target) -> Num[np.ndarray, "examples ..."]:
    """The class of each example, or how right each class is.

    Those of a source come question by question; broken records are left out.
    """
    if not isinstance(split, Source):
        return np.asarray(target.values)
    records = (split.read(index, ("questions",)) for index in range(len(split.records)))
    answers = [np.asarray(r["questions"]["answer"], int) for r in records if r is not None]
    return np.concatenate([np.zeros(0, int), *answers])


def row_slices(source: Source) -> Int[np.ndarray, " examples"]:
    """The slice of each question of a source, as `row_labels` has them."""
    records = (source.read(index, ("questions",)) for index in range(len(source.records)))
    types = [np.asarray(r["questions"]["type"], int) for r in records if r is not None]
    return np.concatenate([np.zeros(0, int), *types])


def class_counts(
    split: Any, target: Target, chosen: Bool[np.ndarray, " examples"] | None = None
) -> tuple[Num[np.ndarray, " C"], int]:
    """The examples for which each class is right, and all that are labelled.

    Args:
        split: of the data set.
        target: what is asked.
        chosen: which examples are looked at; None: all.
    """
    labels = row_labels(split, target)
    known = np.ones(len(labels), bool) if target.mask is None else target.mask
    labels = labels[known if chosen is None else known & chosen]
    if labels.ndim == 2:
        return np.sum(labels, axis=0, dtype=np.float64), len(labels)
    return np.bincount(labels, minlength=len(target.classes)), len(labels)


def draw_probabilities(
    labels: Int[np.ndarray, " examples"], rule: str
) -> Float[np.ndarray, " examples"]:
    """The probability to draw each example, with replacement.

    Args:
        labels: of the examples.
        rule: "balanced": each class that occurs is equally probable; "square_root": in proportion
            to the square root of its count (Mahajan et al. 2018,
            https://arxiv.org/abs/1805.00932). Examples of a class are equally probable.

    Raises:
        UserError: an unknown rule.
    """
    if rule not in POWERS:
        raise UserError(f"config.data.resample={rule!r}: choose one of {', '.join(POWERS)}, or ''")
    counts = np.bincount(labels)
    weights = np.maximum(counts, 1.0)[labels] ** (POWERS[rule] - 1)
    return weights / weights.sum()
