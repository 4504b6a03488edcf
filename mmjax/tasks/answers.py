"""What a user sees of scores of classes: answers with their probabilities, best first."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

Answer = Sequence[Mapping[str, Any]]  # of one row, best first
PREDICTION, PROBABILITY = "prediction", "probability"
TEXT, NUMBER = "text", "number"  # what a column holds, as data.tables.writing calls it
JOINED_BY = "|"


class Cells(NamedTuple):
    """How the answers of a row stand in a table.

    columns: TEXT or NUMBER, by name.
    of: the answers of a row -> what stands in each of the columns.
    """

    columns: Mapping[str, str]
    of: Callable[[Answer], tuple[Any, ...]]


def _all(answers: Answer, key: str) -> str:
    return JOINED_BY.join(str(answer[key]) for answer in answers)


ONE_CLASS = Cells(
    {PREDICTION: TEXT, PROBABILITY: NUMBER},
    lambda answers: (answers[0]["answer"], answers[0]["probability"]),
)
ALL_CLASSES = Cells(
    {PREDICTION: TEXT, PROBABILITY: TEXT},
    lambda answers: (_all(answers, "answer"), _all(answers, "probability")),
)
ONE_NUMBER = Cells({PREDICTION: NUMBER}, lambda answers: (answers[0]["answer"],))
ONE_TEXT = Cells({PREDICTION: TEXT}, lambda answers: (answers[0]["answer"],))


def likeliest(
    log_odds: Float[np.ndarray, "n C"],
    probabilities: Float[np.ndarray, "n C"],
    classes: Sequence[str],
    top: int | None,
    thresholds: Float[np.ndarray, " C"] | None = None,
) -> list[list[dict[str, Any]]]:
    """[{"answer": str, "probability": float}, ...] of each row, best first.

    The order is that of the log-odds, since probabilities of 1.0 in float32 have none.

    Args:
        log_odds, probabilities: of the classes.
        classes: their names.
        top: how many at most; None: all.
        thresholds: what a probability must reach to be there.
    """
    right = probabilities >= (-np.inf if thresholds is None else thresholds)
    order = np.argsort(-log_odds, axis=-1, kind="stable")
    return [
        [
            {"answer": classes[i], "probability": float(row[i])}
            for i in [i for i in best if reached[i]][:top]
        ]
        for row, best, reached in zip(probabilities, order, right, strict=True)
    ]
