"""Errors of predicted numbers over a whole set, on the host."""

import numpy as np
from jaxtyping import Float


def regression(
    predicted: Float[np.ndarray, " N"], truth: Float[np.ndarray, " N"]
) -> dict[str, float]:
    """mae = mean |e|, rmse = sqrt(mean e^2) and r2 = 1 - sum e^2 / sum (t - mean t)^2.

    e = predicted - truth. r2 is 0 for the mean of the set, and NaN where all targets are equal.
    """
    error = np.asarray(predicted, np.float64) - truth
    spread = np.sum((truth - np.mean(truth)) ** 2)
    square = np.sum(error**2)
    return {
        "mae": float(np.mean(np.abs(error))),
        "rmse": float(np.sqrt(square / len(error))),
        "r2": float(1 - square / spread) if spread > 0 else float("nan"),
    }
