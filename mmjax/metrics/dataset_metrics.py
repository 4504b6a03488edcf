"""Metrics of a whole set of predictions, on the host.

N is the number of examples. Targets count as positive from 0.5 up; a class is predicted where its
probability reaches its threshold. What is not defined for a set is NaN, and so is what is computed
from probabilities that are not finite.

Metrics of a ranking read log-odds, log p / (1 - p), which order examples as their probabilities do:
in float32 a probability is 1.0 from a log-odds of 17 on, and all order above that is lost.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

Probabilities = Float[np.ndarray, "N C"]
Scores = Float[np.ndarray, "N C"]
Labels = Int[np.ndarray, " N"]
Targets = Bool[np.ndarray, "N C"] | Int[np.ndarray, "N C"] | Float[np.ndarray, "N C"]
Counts = Int[np.ndarray, " C"]

AVERAGES = ("macro", "micro", "weighted")


def precision_recall_f1(
    predicted: Labels,
    labels: Labels,
    *,
    average: Sequence[str] = ("micro", "macro"),
    per_class: bool = False,
) -> dict[str, float]:
    """right / predicted, right / actual and 2 right / (predicted + actual), of counts of a class.

    Args:
        predicted, labels: class indices, from 0.
        average: "micro" (of the sums of the counts), "macro" (the mean over classes) or "weighted"
            (the mean, weighted by how often a class occurs). Classes that neither occur nor are
            predicted are left out; where a count to divide by is 0, the value is 0.
        per_class: whether to give the value of each class too.

    Returns:
        "precision_micro", "recall_macro", "f1/class_3" and so on; empty if no class is left.

    Raises:
        ValueError: an unknown average.
    """
    classes = max(predicted.max(initial=0), labels.max(initial=0)) + 1
    right = np.bincount(labels[predicted == labels], minlength=classes)
    counts = (np.bincount(x, minlength=classes) for x in (predicted, labels))
    return _precision_recall_f1(right, *counts, average, per_class)


def multilabel_precision_recall_f1(
    probabilities: Probabilities,
    targets: Targets,
    thresholds: Float[np.ndarray, " C"] | None = None,
    *,
    average: Sequence[str] = ("micro", "macro"),
    per_class: bool = False,
) -> dict[str, float]:
    """As precision_recall_f1, where probabilities >= thresholds are predicted, each by itself.

    Args:
        probabilities: of each class, from 0 to 1.
        targets: which classes are right.
        thresholds: for each class; None: 0.5.
        average, per_class: see precision_recall_f1.
    """
    predicted = probabilities >= (0.5 if thresholds is None else thresholds)
    actual = targets >= 0.5
    counts = (np.sum(x, axis=0) for x in (predicted & actual, predicted, actual))
    return _precision_recall_f1(*counts, average, per_class)


def roc_auc(log_odds: Scores, labels: Labels) -> float:
    """P(a positive scores above a negative) + P(equal) / 2, the mean over classes against the rest.

    Classes that never or always occur are left out; NaN if that leaves none.

    Args:
        log_odds: of each class against the rest, or other scores of the same order. Infinite ones
            are the first and the last.
        labels: class indices.
    """
    return multilabel_roc_auc(log_odds, _one_hot(labels, log_odds))


def multilabel_roc_auc(log_odds: Scores, targets: Targets) -> float:
    """As roc_auc, of any number of labels."""
    from sklearn import metrics  # slow to import

    actual = targets >= 0.5
    defined = actual.any(axis=0) & ~actual.all(axis=0)
    return _mean_over_classes(metrics.roc_auc_score, log_odds, actual, defined)


def average_precision(log_odds: Scores, labels: Labels) -> float:
    """sum_n (recall_n - recall_(n-1)) precision_n over thresholds, the mean over classes.

    Classes that never occur are left out; NaN if that leaves none. For the arguments see roc_auc.
    """
    return multilabel_average_precision(log_odds, _one_hot(labels, log_odds))


def multilabel_average_precision(log_odds: Scores, targets: Targets) -> float:
    """As average_precision, of any number of labels: mAP."""
    from sklearn import metrics

    actual = targets >= 0.5
    score = metrics.average_precision_score
    return _mean_over_classes(score, log_odds, actual, actual.any(axis=0))


def expected_calibration_error(
    probabilities: Probabilities, labels: Labels, *, bins: int = 15
) -> float:
    """sum_b |examples in b| / N * |accuracy in b - mean confidence in b|.

    Args:
        probabilities: over the classes; the highest is the confidence.
        labels: class indices.
        bins: number of bins (low, high] of one width that confidence from 0 to 1 falls into.

    References:
        Guo et al. 2017, https://arxiv.org/abs/1706.04599
    """
    if not len(labels) or not np.isfinite(probabilities).all():
        return float("nan")
    confidence = probabilities.max(axis=1)
    # In the type of the probabilities: 0.2 in float32 lies above 0.2 in float64.
    edges = np.linspace(0, 1, bins + 1)[1:-1].astype(confidence.dtype)
    chosen = np.digitize(confidence, edges, right=True)
    surplus = (probabilities.argmax(axis=1) == labels) - confidence.astype(np.float64)
    return float(np.abs(np.bincount(chosen, weights=surplus)).sum() / len(labels))


def _balanced_accuracy(
    right: Counts, predicted: Counts, positives: int, negatives: int
) -> np.ndarray:
    wrong = (predicted - right) / max(negatives, 1)
    return (right / positives + 1 - wrong) / 2


TUNED = {
    "balanced_accuracy": _balanced_accuracy,
    "f1": lambda right, predicted, positives, _: 2 * right / (predicted + positives),
}


def best_thresholds(
    probabilities: Probabilities, targets: Targets, *, metric: str = "f1"
) -> Float[np.ndarray, " C"]:
    """For each class, the threshold with the best F1 (or other metric) of all there are.

    It lies in the middle between the lowest probability that is predicted and the highest that is
    not (0 if all are). Of several as good, it is the one nearest to 0.5. A class without positives
    or with a probability that is not finite has 0.5.

    Args:
        probabilities: of each class, from 0 to 1, on examples that nothing else is fitted to.
        targets: which classes are right.
        metric: "f1", or "balanced_accuracy" (the mean of the recall of positives and negatives).

    Raises:
        ValueError: an unknown metric.
    """
    if metric not in TUNED:
        raise ValueError(f"metric is {metric!r}; there is: {', '.join(TUNED)}")
    actual = targets >= 0.5
    found = np.full(probabilities.shape[1], 0.5, probabilities.dtype)
    for place in np.flatnonzero(actual.any(axis=0) & np.isfinite(probabilities).all(axis=0)):
        found[place] = _best_threshold(probabilities[:, place], actual[:, place], TUNED[metric])
    return found


def _best_threshold(
    scores: Float[np.ndarray, " N"], actual: Bool[np.ndarray, " N"], metric: Callable
) -> np.floating:
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], np.cumsum(actual[order])
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of each distinct score
    positives = int(right[-1])
    values = metric(right[last], last + 1, positives, len(scores) - positives)
    lowest, below = scores[last], np.append(scores[last[:-1] + 1], 0).astype(scores.dtype)
    middle = lowest - (lowest - below) / 2
    middle = np.where(middle > below, middle, lowest)  # neighbours in their type have no middle
    best = np.flatnonzero(values == values.max())
    return middle[best[np.argmin(np.abs(middle[best] - 0.5))]]


def _precision_recall_f1(
    right: Counts, predicted: Counts, actual: Counts, average: Sequence[str], per_class: bool
) -> dict[str, float]:
    if unknown := [kind for kind in average if kind not in AVERAGES]:
        raise ValueError(f"average has {unknown[0]!r}; there is: {', '.join(AVERAGES)}")
    present = np.flatnonzero(predicted + actual)
    if not len(present):
        return {}
    right, predicted, actual = (x[present] for x in (right, predicted, actual))
    each = _of_counts(right, predicted, actual)
    total = _of_counts(*(x.sum(keepdims=True) for x in (right, predicted, actual)))
    found = {}
    for kind in average:
        weights = actual if kind == "weighted" else np.ones(len(present))
        for name, values in each.items():
            mean = values @ weights / max(weights.sum(), 1)
            found[f"{name}_{kind}"] = float(total[name][0] if kind == "micro" else mean)
    if per_class:
        for name, values in each.items():
            found |= {f"{name}/class_{c}": float(v) for c, v in zip(present, values, strict=True)}
    return found


def _of_counts(right: Counts, predicted: Counts, actual: Counts) -> dict[str, np.ndarray]:
    """Each of 0 where there is nothing to divide by."""
    return {
        "precision": right / np.maximum(predicted, 1),
        "recall": right / np.maximum(actual, 1),
        "f1": 2 * right / np.maximum(predicted + actual, 1),
    }


def _mean_over_classes(
    score: Callable,
    log_odds: Scores,
    actual: Bool[np.ndarray, "N C"],
    defined: Bool[np.ndarray, " C"],
) -> float:
    if not defined.any() or np.isnan(log_odds).any():
        return float("nan")
    # scikit-learn refuses infinite scores; their places in the order are as good.
    scores = [
        score(actual[:, place], np.unique(log_odds[:, place], return_inverse=True)[1])
        for place in np.flatnonzero(defined)
    ]
    return float(np.mean(scores))


def _one_hot(labels: Labels, scores: Scores) -> Bool[np.ndarray, "N C"]:
    return labels[:, None] == np.arange(scores.shape[1])
