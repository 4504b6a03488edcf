import itertools

import numpy as np
import pytest
from sklearn import metrics

from mmjax.metrics.dataset_metrics import (
    average_precision,
    best_thresholds,
    expected_calibration_error,
    multilabel_average_precision,
    multilabel_precision_recall_f1,
    multilabel_roc_auc,
    precision_recall_f1,
    roc_auc,
)

ALL = ("micro", "macro", "weighted")


def softmax(rng, rows, classes):
    logits = np.exp(2 * rng.normal(size=(rows, classes)))
    return (logits / logits.sum(axis=1, keepdims=True)).astype(np.float32)


def assert_equals_scikit_learn(got, truth, predicted, present):
    for average in ALL:
        expected = metrics.precision_recall_fscore_support(
            truth, predicted, labels=present, average=average, zero_division=0
        )
        for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
            assert got[f"{name}_{average}"] == pytest.approx(value), (name, average)
    each = metrics.precision_recall_fscore_support(
        truth, predicted, labels=present, average=None, zero_division=0
    )
    for name, values in zip(("precision", "recall", "f1"), each, strict=False):
        found = {k: v for k, v in got.items() if k.startswith(f"{name}/")}
        assert found == {
            f"{name}/class_{c}": pytest.approx(v) for c, v in zip(present, values, strict=True)
        }


@pytest.mark.parametrize("seed", range(8))
def test_of_one_label_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    rows = (1, 2, 30, 200)[seed % 4]
    labels, predicted = rng.integers(0, 6, rows), rng.integers(2, 9, rows)
    got = precision_recall_f1(predicted, labels, average=ALL, per_class=True)
    present = sorted({*labels.tolist(), *predicted.tolist()})
    assert_equals_scikit_learn(got, labels, predicted, present)
    assert got["f1_micro"] == pytest.approx(np.mean(labels == predicted))


@pytest.mark.parametrize("seed", range(6))
def test_of_several_labels_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    rows = (1, 3, 100)[seed % 3]
    probabilities = rng.random((rows, 5)).astype(np.float32)
    targets = (rng.random((rows, 5)) < 0.4).astype(np.float32)
    thresholds = rng.random(5).astype(np.float32)
    targets[:, 2], probabilities[:, 2] = 0, 0  # neither occurs nor is predicted
    targets[:, 4], targets[0, 0] = 0, 1
    predicted = probabilities >= thresholds
    got = multilabel_precision_recall_f1(
        probabilities, targets, thresholds, average=ALL, per_class=True
    )
    present = np.flatnonzero(predicted.any(axis=0) | (targets > 0).any(axis=0))
    assert 2 not in present
    assert_equals_scikit_learn(got, targets.astype(int), predicted.astype(int), present)


def test_of_one_class_and_the_default_threshold():
    probabilities = np.array([[0.5], [0.4], [0.9], [0.6]])
    got = multilabel_precision_recall_f1(probabilities, np.array([[1], [1], [0], [1]]))
    assert got == {
        f"{name}_{average}": pytest.approx(2 / 3)
        for name in ("precision", "recall", "f1")
        for average in ("micro", "macro")
    }


def test_classes_that_are_not_there():
    zeros, ones = np.zeros(3, int), np.ones(3, int)
    assert set(precision_recall_f1(zeros, zeros).values()) == {1.0}
    assert set(precision_recall_f1(zeros, ones, average=ALL, per_class=True).values()) == {0.0}
    assert precision_recall_f1(zeros[:0], zeros[:0]) == {}
    assert multilabel_precision_recall_f1(np.zeros((2, 3)), np.zeros((2, 3))) == {}
    found = multilabel_precision_recall_f1(np.ones((2, 3)), np.zeros((2, 3)), average=ALL)
    assert set(found.values()) == {0.0}
    # A perfect model is perfect however many other classes there could be.
    assert precision_recall_f1(7 * ones, 7 * ones)["f1_macro"] == 1


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match="'both'; there is: macro, micro, weighted"):
        precision_recall_f1(np.zeros(2, int), np.zeros(2, int), average=("micro", "both"))
    with pytest.raises(ValueError, match="'f2'; there is: balanced_accuracy, f1"):
        best_thresholds(np.zeros((2, 1)), np.zeros((2, 1)), metric="f2")


def naive_auc(scores, actual):
    wins = [(good > bad) + (good == bad) / 2 for good in scores[actual] for bad in scores[~actual]]
    return np.mean(wins)


def naive_average_precision(scores, actual):
    total, recall = 0, 0
    for threshold in sorted(set(scores), reverse=True):
        predicted = scores >= threshold
        now = (predicted & actual).sum() / actual.sum()
        total += (now - recall) * (predicted & actual).sum() / predicted.sum()
        recall = now
    return total


@pytest.mark.parametrize("distinct", [2, 5, 10**6])
def test_ranking_metrics_equal_loops(distinct):
    rng = np.random.default_rng(distinct)
    scores = (rng.integers(distinct, size=(60, 6)) / distinct).astype(np.float32)
    targets = rng.random((60, 6)) < 0.3
    targets[:, 1], targets[:, 4] = False, True
    some = [0, 2, 3, 5]
    expected = np.mean([naive_auc(scores[:, c], targets[:, c]) for c in some])
    assert multilabel_roc_auc(scores, targets) == pytest.approx(expected)
    expected = np.mean([naive_average_precision(scores[:, c], targets[:, c]) for c in [*some, 4]])
    assert multilabel_average_precision(scores, targets) == pytest.approx(expected)
    labels = rng.choice([0, 2, 3], size=60)
    one = labels[:, None] == np.arange(6)
    assert roc_auc(scores, labels) == multilabel_roc_auc(scores, one)
    assert average_precision(scores, labels) == multilabel_average_precision(scores, one)
    expected = np.mean([naive_auc(scores[:, c], one[:, c]) for c in (0, 2, 3)])
    assert roc_auc(scores, labels) == pytest.approx(expected)


def test_roc_auc_equals_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities, labels = softmax(rng, 100, 4).astype(np.float64), rng.integers(4, size=100)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    expected = metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert roc_auc(probabilities, labels) == pytest.approx(expected)
    two = probabilities[:, :2] / probabilities[:, :2].sum(axis=1, keepdims=True)
    expected = metrics.roc_auc_score(labels % 2, two[:, 1])
    assert roc_auc(two, labels % 2) == pytest.approx(expected)


def test_ranking_of_one_class_or_of_no_numbers():
    probabilities, same = softmax(np.random.default_rng(0), 5, 3), np.ones(5, int)
    assert np.isnan(roc_auc(probabilities, same))
    assert average_precision(probabilities, same) == 1
    assert np.isnan(multilabel_average_precision(probabilities, np.zeros((5, 3))))
    assert np.isnan(roc_auc(probabilities[:1], same[:1]))
    broken = probabilities.copy()
    broken[0, 0] = np.nan
    for metric in (roc_auc, average_precision, expected_calibration_error):
        assert np.isnan(metric(broken, np.array([0, 1, 2, 0, 1])))
        assert np.isnan(metric(broken[:0], same[:0]))


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_calibration_error_equals_a_loop(bins):
    rng = np.random.default_rng(bins)
    probabilities, labels = softmax(rng, 200, 3).astype(np.float64), rng.integers(3, size=200)
    expected = 0
    for place in range(bins):
        inside = [
            (row.argmax() == label, row.max())
            for row, label in zip(probabilities, labels, strict=True)
            if place / bins < row.max() <= (place + 1) / bins
        ]
        if inside:
            right, confidence = np.mean(inside, axis=0)
            expected += len(inside) / 200 * abs(right - confidence)
    got = expected_calibration_error(probabilities, labels, bins=bins)
    assert got == pytest.approx(expected)


def test_calibration_error_in_closed_form():
    sure = np.tile(np.array([[1.0, 0.0]], np.float32), (10, 1))
    assert expected_calibration_error(sure, np.zeros(10, int)) == 0
    assert expected_calibration_error(sure, np.ones(10, int)) == 1
    half = np.full((10, 2), 0.5, np.float32)
    assert expected_calibration_error(half, np.arange(10) % 2) == 0
    # 0.6 and 0.8 are the upper ends of bins in float32 too: one is surer than right, one less.
    edges = np.array([[0.6, 0.4], [0.7, 0.3], [0.8, 0.2], [0.9, 0.1]], np.float32)
    got = expected_calibration_error(edges, np.array([0, 1, 0, 1]), bins=5)
    expected = (abs(1 - 0.6) + abs((0 + 1) - (0.7 + 0.8)) + abs(0 - 0.9)) / 4
    assert got == pytest.approx(expected, rel=1e-6)


def f1(predicted, actual):
    return 2 * (predicted & actual).sum() / max(predicted.sum() + actual.sum(), 1)


def balanced(predicted, actual):
    recalls = [(predicted == actual)[actual == kind].mean() for kind in set(actual.tolist())]
    return np.mean(recalls) if len(recalls) == 2 else (recalls[0] + 1) / 2


@pytest.mark.parametrize(("metric", "naive"), [("f1", f1), ("balanced_accuracy", balanced)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("distinct", [1, 3, 10**6])
def test_best_thresholds_equal_a_search(distinct, kind, metric, naive):
    rng = np.random.default_rng(distinct)
    for rows in (1, 2, 5, 40):
        scores = (rng.integers(distinct, size=(rows, 8)) / distinct).astype(kind)
        targets = rng.random((rows, 8)) < 0.4
        got = best_thresholds(scores, targets, metric=metric)
        assert got.dtype == kind
        for c in range(8):
            column, actual = scores[:, c], targets[:, c]
            if not actual.any():
                assert got[c] == 0.5
                continue
            ends = sorted({0, *column.tolist()})
            middles = [kind((x + y) / 2) for x, y in itertools.pairwise(ends)]
            middles += [0] if 0 in column else []
            values = [naive(column >= t, actual) for t in middles]
            assert naive(column >= got[c], actual) == pytest.approx(max(values))
            best = [t for t, v in zip(middles, values, strict=True) if v >= max(values) - 1e-9]
            assert abs(got[c] - 0.5) == pytest.approx(min(abs(t - 0.5) for t in best))


def test_best_thresholds_in_closed_form():
    scores = np.array([[0.1, 0.2, 0.9], [0.3, 0.4, 0.9], [0.7, 0.6, 0.9], [0.9, 0.8, 0.9]])
    targets = np.array([[0, 0, 1], [0, 1, 0], [1, 1, 0], [1, 1, 0]])
    np.testing.assert_allclose(best_thresholds(scores, targets), [0.5, 0.3, 0.45])
    scores[0, 0] = np.nan
    np.testing.assert_allclose(best_thresholds(scores, targets), [0.5, 0.3, 0.45])
    scores[0, 1] = np.nan
    np.testing.assert_allclose(best_thresholds(scores, targets), [0.5, 0.5, 0.45])
    # The first alone and all four have an F1 of 2/3: the threshold nearest to 0.5 is taken.
    scores = np.array([[0.95, 0.6], [0.9, 0.4], [0.8, 0.2], [0.7, 0.1]])
    targets = np.array([[1, 1], [0, 0], [0, 0], [1, 1]])
    np.testing.assert_allclose(best_thresholds(scores, targets), [0.35, 0.5])


def test_neighbours_in_float32_have_nothing_between_them():
    low = np.float32(0.7)
    for _ in range(2):  # halfway rounds up from one of two, and down from the other
        high = np.nextafter(low, np.float32(1))
        got = best_thresholds(np.array([[low], [high]]), np.array([[0], [1]]))
        assert low < got[0] <= high
        low = high


def test_best_thresholds_are_the_best_of_the_metric_they_are_for():
    rng = np.random.default_rng(3)
    targets = rng.random((300, 4)) < [0.05, 0.2, 0.5, 0.9]
    scores = (0.3 * targets + rng.random((300, 4)) * 0.6).astype(np.float32)
    tuned = best_thresholds(scores, targets)
    best = multilabel_precision_recall_f1(scores, targets, tuned)["f1_macro"]
    for _ in range(50):
        other = rng.random(4).astype(np.float32)
        assert multilabel_precision_recall_f1(scores, targets, other)["f1_macro"] <= best
    assert best > multilabel_precision_recall_f1(scores, targets)["f1_macro"]


def test_the_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(1)
    probabilities, labels = softmax(rng, 50, 4), rng.integers(4, size=50)
    targets, order = rng.random((50, 4)) < 0.4, rng.permutation(50)
    for metric in (roc_auc, average_precision, expected_calibration_error):
        got = metric(probabilities[order], labels[order])
        assert got == pytest.approx(metric(probabilities, labels))
    for metric in (multilabel_roc_auc, multilabel_average_precision, best_thresholds):
        got = metric(probabilities[order], targets[order])
        np.testing.assert_allclose(got, metric(probabilities, targets))
    for kind in (targets, targets.astype(int), targets.astype(np.float32)):
        assert multilabel_roc_auc(probabilities, kind) == multilabel_roc_auc(probabilities, targets)
    predicted = probabilities.argmax(axis=1)
    got = precision_recall_f1(predicted[order], labels[order])
    assert got == precision_recall_f1(predicted, labels)
