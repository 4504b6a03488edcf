"""What a user sees of predictions: answers with their probabilities, best first."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mmjax.tasks.multilabel import exact
from mmjax.tasks.transcription import WRITTEN, spell

PROBABILITIES, LOG_ODDS = "probabilities", "log_odds"
Rows = Mapping[str, np.ndarray]
Answers = list[list[dict[str, Any]]]


def probabilities_of(rows: Rows, thresholds: np.ndarray | None) -> Float[np.ndarray, "n C"]:
    """Those of predictions; exact ones where labels are judged by themselves, as thresholds are."""
    return rows[PROBABILITIES] if thresholds is None else exact(rows[LOG_ODDS])


def answers_of(
    rows: Rows, labels: Sequence[str], thresholds: np.ndarray | None, top: int | None
) -> Answers:
    """[{"answer": str, "probability": float}, ...] of each row, best first.

    The order is that of the log-odds, since probabilities of 1.0 in float32 have none.

    Args:
        rows: predictions of n inputs, by name.
        labels: the names of the C classes, or the alphabet of a text.
        thresholds: [C] where any number of labels may be right, else None.
        top: how many at most. None: 3; with thresholds, all that reach them.
    """
    if WRITTEN in rows:
        texts = zip(spell(rows[WRITTEN], labels), rows["probability"], strict=True)
        return [[{"answer": text, "probability": float(p)}] for text, p in texts]
    probabilities = probabilities_of(rows, thresholds)
    right = probabilities >= (-np.inf if thresholds is None else thresholds)
    if thresholds is None and top is None:
        top = 3
    order = np.argsort(-rows[LOG_ODDS], axis=-1, kind="stable")
    return [
        [
            {"answer": labels[i], "probability": float(row[i])}
            for i in [i for i in best if reached[i]][:top]
        ]
        for row, best, reached in zip(probabilities, order, right, strict=True)
    ]
