"""Rankings of scores whose probabilities are all 1.0 or 0.0 in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn import metrics

from mmjax.factory.bind import bind
from mmjax.factory.tables.metrics import DATASET_METRICS
from mmjax.metrics.dataset_metrics import multilabel_precision_recall_f1
from mmjax.tasks.classification import CLASSIFICATION, classification, log_odds
from mmjax.tasks.multilabel import MULTILABEL as SEVERAL
from mmjax.tasks.multilabel import multilabel
from mmjax.tasks.task import Question

RNG = np.random.default_rng(0)
READS = SEVERAL.given("label", "label") | CLASSIFICATION.given("label", "label")
MULTILABEL = (
    "multilabel_roc_auc",
    "multilabel_average_precision",
    "multilabel_precision_recall_f1",
)


def make(task, *names, vocabulary=()):
    asked = bind(
        DATASET_METRICS,
        names,
        "config.metrics",
        modalities=("a",),
        space="encoder/",
        counts=None,
        reads_of_task=(READS, ()),
    )
    return task(Question(("a",), {}, {}, asked, "label", "label", vocabulary))


def rows_of(task, logits, **batch):
    """What an evaluation keeps, on the host."""
    size = len(logits)
    batch = {f"targets/{name}": values for name, values in batch.items()}
    batch |= {"slice": jnp.zeros(size, jnp.int32), "_mask": jnp.arange(size) < size - 1}
    kept = jax.jit(task.keep)({"label": jnp.asarray(logits, jnp.float32)}, batch)
    return jax.device_get(kept)


@pytest.mark.parametrize("margin", [0, 20, 60, 300])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_one_label_is_ranked_by_exact_log_odds(classes, margin):
    labels = RNG.integers(classes, size=200)
    logits = RNG.normal(size=(200, classes)) + 2 * np.eye(classes)[labels]
    logits[:, 0] += margin
    exact = np.stack(
        [logits[:, c] - logsumexp(np.delete(logits, c, axis=1), axis=1) for c in range(classes)], 1
    )
    np.testing.assert_allclose(log_odds(jnp.asarray(logits)), exact, rtol=1e-5, atol=1e-4)
    task = make(classification, "roc_auc", "average_precision")
    found = task.dataset_metrics(rows_of(task, logits, label=jnp.asarray(labels)))
    real = slice(None, -1)
    for name, score in (
        ("roc_auc", metrics.roc_auc_score),
        ("average_precision", metrics.average_precision_score),
    ):
        each = [score(labels[real] == c, exact[real, c]) for c in range(classes)]
        assert found[name] == pytest.approx(np.mean(each), abs=1e-3), name


def test_log_odds_of_logits_at_the_edge():
    np.testing.assert_array_equal(log_odds(jnp.array([[3.0]])), [[np.inf]])
    found = log_odds(jnp.array([[2.0, 2.0], [-np.inf, 1.0], [1e30, -1e30]]))
    np.testing.assert_allclose(found, [[0, 0], [-np.inf, np.inf], [2e30, -2e30]], rtol=1e-6)
    assert np.isnan(log_odds(jnp.array([[np.nan, 1.0]]))).all()
    task = make(classification, "roc_auc")
    rows = rows_of(task, [[np.inf, 0], [0, 0], [-np.inf, 0]], label=jnp.array([0, 1, 1]))
    assert task.dataset_metrics(rows) == {"roc_auc": 1.0}


@pytest.mark.parametrize("margin", [-60, 0, 22, 60])
def test_many_labels_are_ranked_by_logits(margin):
    targets = RNG.integers(2, size=(100, 3))
    logits = np.float32(RNG.normal(size=(100, 3)) + 2 * targets + margin)
    task = make(multilabel, *MULTILABEL[:2])
    found = task.dataset_metrics(rows_of(task, logits, label=jnp.asarray(targets)))
    auc = metrics.roc_auc_score(targets[:-1], logits[:-1], average="macro")
    assert found["multilabel_roc_auc"] == pytest.approx(auc)
    precision = metrics.average_precision_score(targets[:-1], logits[:-1], average="macro")
    assert found["multilabel_average_precision"] == pytest.approx(precision)


def test_thresholds_lie_between_probabilities_that_float32_does_not_tell_apart():
    logits, targets = np.array([[18.0], [19.0], [21.0], [24.0], [0.0]]), np.array([0, 0, 1, 1, 0])
    task = make(multilabel, MULTILABEL[2], vocabulary=["tag"])
    rows = rows_of(task, logits, label=jnp.asarray(targets[:, None]))
    tuned = task.tune(rows)["thresholds"]
    found = task.dataset_metrics({**rows, "tuned/thresholds": tuned})
    assert found["f1_micro"] == 1.0
    predicted = jax.device_get(jax.jit(task.predict)({"label": jnp.asarray(logits)}))
    exact = task.probabilities(predicted, {})
    assert (exact[:, 0] >= tuned).tolist() == (targets == 1).tolist()
    answers = task.answer(predicted, {"thresholds": tuned}, None)
    assert [bool(row) for row in answers] == [False, False, True, True, False]
    near = multilabel_precision_recall_f1(predicted["probabilities"][:4], targets[:4, None], tuned)
    assert near["f1_micro"] < 1.0  # so it matters


def test_answers_are_ordered_where_probabilities_are_equal():
    logits = np.array([[30.0, 20.0, 40.0]], np.float32)
    for kind in (classification, multilabel):
        task = make(kind, vocabulary="abc")
        predicted = jax.device_get(task.predict({"label": jnp.asarray(logits)}))
        answers = task.answer(predicted, {}, None)[0]
        assert "".join(answer["answer"] for answer in answers) == "cab"
