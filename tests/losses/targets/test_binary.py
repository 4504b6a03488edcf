"""Losses of yes or no against loops in float64."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.losses.targets.binary import (
    binary_cross_entropy,
    image_text_matching,
    sigmoid_focal,
    vqa_soft,
)
from tests.losses import contract

WEIGHTS = jnp.array([0.5, 3.0, 1.0, 0.0])


def many(rng, rows):
    return rng.normal(size=(rows, 4)), rng.integers(2, size=(rows, 4))


def soft(rng, rows):
    return rng.normal(size=(rows, 4)), rng.uniform(size=(rows, 4))


def single(rng, rows):
    return rng.normal(size=rows), rng.integers(2, size=rows).astype(bool)


def several(rng, rows):
    """Scores of several pairs of a row, their targets, and which there are."""
    pairs = rng.integers(2, size=(rows, 4)).astype(bool)
    pairs[-1] = False
    return rng.normal(size=(rows, 4)), rng.integers(2, size=(rows, 4)).astype(bool), pairs


def loop(element, total=np.mean):
    """The loss of a batch from that of an element: (probability of yes, target, c) -> number."""

    def losses(logits, targets, mask):
        values = []
        for row, right, _ in zip(logits, targets, mask, strict=True):
            pairs = zip(np.atleast_1d(row), np.atleast_1d(right), strict=True)
            elements = [
                element(1 / (1 + math.exp(-x)), float(t), c) for c, (x, t) in enumerate(pairs)
            ]
            values.append(total(elements))
        return np.array(values)

    return losses


def plain(p, t, _):
    return -t * math.log(p) - (1 - t) * math.log(1 - p)


def smoothed_and_weighted(p, t, c):
    t = 0.8 * t + 0.1
    return -float(WEIGHTS[c]) * t * math.log(p) - (1 - t) * math.log(1 - p)


def focal(p, t, _):
    if t == 1:
        return -0.25 * (1 - p) ** 2 * math.log(p)
    return -0.75 * p**2 * math.log(1 - p)


def focal_without_alpha(p, t, _):
    return -((1 - p) ** 0.5) * math.log(p) if t == 1 else -(p**0.5) * math.log(1 - p)


def matching_loop(scores, targets, pairs, mask):
    values = []
    for row, right, there, _ in zip(scores, targets, pairs, mask, strict=True):
        each = [
            plain(1 / (1 + math.exp(-x)), float(t), None)
            for x, t, counts in zip(row, right, there, strict=True)
            if counts
        ]
        values.append(np.mean(each) if each else 0)
    return np.array(values)


Case = functools.partial(contract.Case, mixes=False)
CASES = {
    "binary_cross_entropy": Case(binary_cross_entropy, soft, loop(plain)),
    "binary_cross_entropy, smoothed and weighted": Case(
        functools.partial(binary_cross_entropy, label_smoothing=0.2, class_weights=WEIGHTS),
        many,
        loop(smoothed_and_weighted),
    ),
    "sigmoid_focal": Case(sigmoid_focal, many, loop(focal)),
    "sigmoid_focal, one question": Case(
        functools.partial(sigmoid_focal, gamma=0.5, alpha=None), single, loop(focal_without_alpha)
    ),
    "vqa_soft": Case(vqa_soft, soft, loop(plain, sum)),
    "image_text_matching": Case(image_text_matching, single, loop(plain)),
    "image_text_matching, several pairs": Case(image_text_matching, many, loop(plain)),
    "image_text_matching, some pairs": Case(
        lambda scores, targets, pairs: image_text_matching(scores, targets, pairs=pairs),
        several,
        matching_loop,
    ),
}


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


def test_gradient_is_sigmoid_minus_target():
    logits, targets = jnp.array([[1.0, -2.0], [0.3, 40.0]]), jnp.array([[1, 0.25], [0, 1]])
    expected = jax.nn.sigmoid(logits) - targets
    for loss, share in ((binary_cross_entropy, 2), (vqa_soft, 1)):
        got = jax.grad(lambda x: loss(x, targets).sum())(logits)  # noqa: B023
        np.testing.assert_allclose(got, expected / share, atol=1e-6)


def test_one_question_may_have_a_weight():
    logits, targets = jnp.array([2.0, -1.0]), jnp.array([True, False])
    got = binary_cross_entropy(logits, targets, class_weights=jnp.float32(3))
    expected = jnp.array([3.0, 1.0]) * binary_cross_entropy(logits, targets)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_matching_equals_a_head_with_two_logits():
    two = jnp.array([[0.3, 1.7], [4.0, -1.0], [0.0, 0.0]])
    got = image_text_matching(two[:, 1] - two[:, 0], jnp.array([1, 1, 0]))
    expected = -jax.nn.log_softmax(two)[jnp.arange(3), jnp.array([1, 1, 0])]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_pair_that_is_not_there_changes_nothing_whatever_it_holds():
    pairs = jnp.array([[True, False], [False, False]])
    targets = jnp.array([[True, False], [True, True]])

    def total(scores):
        return image_text_matching(scores, targets, pairs=pairs).sum()

    for other in (5.0, 1e30, jnp.nan):
        scores = jnp.array([[0.5, other], [other, other]])
        value, gradient = jax.value_and_grad(total)(scores)
        np.testing.assert_allclose(value, jnp.log1p(jnp.exp(-0.5)), rtol=1e-6)
        assert gradient[0, 0] < 0
        assert (gradient.ravel()[1:] == 0).all()


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_has_finite_gradients_at_every_target(gamma):
    logits = jnp.array([[1e4, -1e4, 0.0, 30.0]] * 3)
    targets = jnp.array([[0.0] * 4, [1.0] * 4, [0.5] * 4])
    loss = lambda x, t: sigmoid_focal(x, t, gamma=gamma).sum()  # noqa: E731
    value, gradients = jax.value_and_grad(loss, (0, 1))(logits, targets)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
