"""What a user sees of scores of classes: answers with their probabilities, best first."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float


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
