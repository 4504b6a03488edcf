"""Rules that combine decisions against plain numpy and scikit-learn."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import VotingClassifier

from mmjax.models import combine

BATCH, MODALITIES, CLASSES = 64, 3, 4
SCORES = (0.3, -1.0, 0.8)
RULES = {
    "average": combine.average,
    "product": combine.product,
    "vote": combine.vote,
    "weighted": lambda logits, present: combine.weighted(logits, present, jnp.array(SCORES)),
}

every_rule = pytest.mark.parametrize("name", RULES)


def data():
    """Every subset of the modalities is present in eight rows."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (BATCH, MODALITIES, CLASSES)).astype(np.float32)
    present = np.array(list(itertools.product([True, False], repeat=MODALITIES)) * 8)
    return logits, present


@functools.cache
def program(name):
    """jitted (logits, present) -> the combined logits, and the gradient of class 0."""

    @jax.jit
    def run(logits, present):
        combined, pull = jax.vjp(lambda x: RULES[name](x, present), logits)
        return combined, pull(jnp.zeros_like(combined).at[:, 0].set(1))[0]

    return run


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def naive(name, p):
    """Probabilities [C] from the probabilities [n C] of the present modalities of one example."""
    if not len(p):
        return np.full(CLASSES, 1 / CLASSES)
    if name == "product":
        return p.prod(0) / p.prod(0).sum()
    if name == "vote":
        votes = np.zeros(CLASSES)
        for row in p:
            votes[row.argmax()] += 1
        return (votes + 0.5 * p.mean(0)) / (len(p) + 0.5)
    return p.mean(0)


@every_rule
def test_equals_the_rule_written_out(name):
    logits, present = data()
    combined, _ = program(name)(logits, present)
    assert combined.dtype == jnp.float32
    for row in range(BATCH):
        p = softmax(logits[row][present[row]].astype(np.float64))
        expected = naive(name, p)
        if name == "weighted" and len(p):
            weights = np.exp(np.array(SCORES)[present[row]])
            expected = weights / weights.sum() @ p
        np.testing.assert_allclose(np.exp(combined[row]), expected, atol=1e-6)


class Fixed(ClassifierMixin, BaseEstimator):
    """A classifier of scikit-learn whose probabilities for each row are known."""

    def __init__(self, table=None):
        self.table = table

    def fit(self, _, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, rows):
        return self.table[rows[:, 0]]

    def predict(self, rows):
        return self.predict_proba(rows).argmax(1)


@pytest.mark.parametrize(
    ("name", "voting", "weights"),
    [("average", "soft", None), ("weighted", "soft", np.exp(SCORES)), ("vote", "hard", None)],
)
def test_equals_the_voting_classifier_of_scikit_learn(name, voting, weights):
    logits, present = data()
    tables = softmax(logits.astype(np.float64))
    members = [(str(m), Fixed(tables[:, m])) for m in range(MODALITIES)]
    rows, labels = np.arange(BATCH)[:, None], np.arange(BATCH) % CLASSES
    theirs = VotingClassifier(members, voting=voting, weights=weights).fit(rows, labels)
    combined, _ = program(name)(logits, np.ones_like(present))
    if voting == "soft":
        np.testing.assert_allclose(np.exp(combined), theirs.predict_proba(rows), atol=1e-6)
        return
    # scikit-learn breaks ties by the smallest label.
    votes = np.sort([np.bincount(v, minlength=CLASSES) for v in tables.argmax(2)])
    decided = votes[:, -1] > votes[:, -2]
    assert 0 < decided.sum() < BATCH
    np.testing.assert_array_equal(np.argmax(combined, 1)[decided], theirs.predict(rows)[decided])


@every_rule
@pytest.mark.parametrize("value", [1e6, np.nan])
def test_absent_logits_change_no_bit_and_have_no_gradient(name, value):
    logits, present = data()
    clean = program(name)(logits, present)
    dirty = program(name)(np.where(present[:, :, None], logits, np.float32(value)), present)
    jax.tree.map(np.testing.assert_array_equal, dirty, clean)
    np.testing.assert_array_equal(np.asarray(clean[1])[~present], 0)
    assert np.abs(clean[1]).max(-1)[present].min() > 0


@every_rule
def test_with_nothing_present_all_classes_are_equal(name):
    logits, present = data()
    combined, _ = program(name)(logits, present & False)
    np.testing.assert_allclose(combined, -np.log(CLASSES), rtol=1e-6)


@every_rule
def test_extreme_logits_stay_finite(name):
    logits, present = data()
    for leaf in program(name)(np.sign(logits) * np.float32(1e6), present):
        assert np.isfinite(leaf).all()


@every_rule
def test_gradient_equals_finite_differences(name):
    logits, present = data()
    # A vote for the most probable class stays the same under a small change.
    rule = jax.jit(lambda x: RULES[name](x, jnp.asarray(present[:8])))
    check_grads(rule, (jnp.asarray(logits[:8]),), 1, ["rev"], atol=1e-2, rtol=1e-2)


def test_the_scores_of_absent_modalities_have_no_gradient():
    logits, _ = data()
    present = jnp.array([[True, True, False]] * BATCH)

    @jax.jit
    def loss(scores):
        return combine.weighted(jnp.asarray(logits), present, scores)[:, 0].sum()

    gradient = jax.grad(loss)(jnp.array(SCORES))
    assert gradient[2] == 0
    assert np.abs(gradient[:2]).min() > 0


def test_most_votes_win_and_probability_breaks_ties():
    p = np.array(
        [
            [[0.51, 0.49, 0.0], [0.51, 0.49, 0.0], [0.0, 1.0, 0.0]],  # two votes against a sure one
            [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]],  # one vote each
            [[0.6, 0.4, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]],  # the third is absent
        ]
    )
    present = jnp.ones((3, 3), bool).at[2, 2].set(False)
    logits = jnp.log(jnp.asarray(p, jnp.float32) + 1e-20)
    for name, expected in (("vote", [0, 1, 1]), ("average", [1, 1, 1])):
        combined = jax.jit(RULES[name])(logits, present)
        np.testing.assert_array_equal(combined.argmax(1), expected)
