"""Distillation against loops; what only the student learns from."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mmjax.losses.targets import distillation
from tests.losses import contract
from tests.losses.contract import normal


def draw(*shapes):
    return lambda rng, rows: tuple(rng.normal(size=(rows, *shape)) for shape in shapes)


def naive_distillation(temperature):
    def losses(logits, teacher, mask):
        values = np.zeros(len(mask))
        for i in np.flatnonzero(mask):
            q, p = (np.exp(x[i] / temperature) for x in (logits, teacher))
            q, p = q / q.sum(), p / p.sum()
            values[i] = sum(p[c] * math.log(p[c] / q[c]) for c in range(len(p)))
        return temperature**2 * values

    return losses


def naive_feature(features, teacher, mask):
    pairs = zip(features, teacher, mask, strict=True)
    return np.array([sum((s - t).ravel() ** 2) / 2 * keep for s, t, keep in pairs])


def naive_cosine(features, teacher, mask):
    values = np.zeros(len(mask))
    for i in np.flatnonzero(mask):
        s, t = features[i].ravel(), teacher[i].ravel()
        values[i] = 1 - s @ t / math.sqrt((s @ s) * (t @ t))
    return values


def huber(x, y):
    gap = abs(x - y)
    return gap**2 / 2 if gap <= 1 else gap - 0.5


def distance(x, i, j):
    return math.sqrt(sum((x[i] - x[j]) ** 2))


def naive_relational(distance_weight, angle_weight):
    def losses(a, teacher, mask):
        rows, values = list(np.flatnonzero(mask)), np.zeros(len(mask))
        pairs = [(i, j) for i in rows for j in rows if i != j]
        scales = []
        for x in (a, teacher):
            total = sum(distance(x, i, j) for i, j in pairs)
            scales.append(total / len(pairs) if total > 0 else 1.0)

        def cosine(x, i, j, k):
            lengths = distance(x, i, j) * distance(x, i, k)
            return (x[j] - x[i]) @ (x[k] - x[i]) / lengths if lengths > 0 else 0.0

        for i in rows:
            others = [j for j in rows if j != i]
            gaps = [
                huber(distance(a, i, j) / scales[0], distance(teacher, i, j) / scales[1])
                for j in others
            ]
            turns = [
                huber(cosine(a, i, j, k), cosine(teacher, i, j, k))
                for j in others
                for k in others
                if j != k
            ]
            values[i] += distance_weight * sum(gaps) / len(gaps) if gaps else 0.0
            values[i] += angle_weight * sum(turns) / len(turns) if turns else 0.0
        return values

    return losses


# No gradient reaches a teacher, so a difference quotient of it is not the gradient:
# `test_only_the_student_has_a_gradient` below compares the student's.
CASES = {
    "distillation": contract.Case(
        functools.partial(distillation.distillation, temperature=3.0),
        draw((5,), (5,)),
        naive_distillation(3.0),
        mixes=False,
        gradient=False,
    ),
    "feature": contract.Case(
        distillation.feature, draw((2, 3), (2, 3)), naive_feature, mixes=False, gradient=False
    ),
    "feature, normalised": contract.Case(
        functools.partial(distillation.feature, normalise=True),
        draw((2, 3), (2, 3)),
        naive_cosine,
        mixes=False,
        gradient=False,
    ),
    "relational": contract.Case(
        jax.jit(distillation.relational),  # a compilation for each of its steps takes longer
        draw((4,), (3,)),
        naive_relational(1.0, 2.0),
        gradient=False,
    ),
}
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda c: c.__name__)
@every
def test_contract(case, check):
    check(case)


@every
def test_only_the_student_has_a_gradient(case):
    student, teacher = map(jnp.asarray, case.inputs(5))
    loss = lambda x: case((jnp.asarray(x), teacher))  # noqa: E731
    check_grads(loss, (student,), order=1, modes=["rev"], rtol=0.02, atol=0.02)
    _, (of_student, of_teacher) = case.value_and_gradients((student, teacher))
    assert (of_student != 0).all()
    assert (of_teacher == 0).all()


def test_a_student_that_is_its_teacher_has_no_loss():
    x = normal(5, 4)
    np.testing.assert_allclose(distillation.distillation(x, x + 3.0), 0, atol=1e-6)
    np.testing.assert_array_equal(distillation.feature(x, x), 0)
    np.testing.assert_allclose(distillation.feature(x, 3 * x, normalise=True), 0, atol=1e-6)


def test_relations_do_not_change_with_rotation_scale_or_offset():
    x = normal(6, 4)
    rotation, _ = jnp.linalg.qr(normal(4, 4, seed=1))
    np.testing.assert_allclose(distillation.relational(3 * x @ rotation + 1, x), 0, atol=1e-5)
    assert (distillation.relational(x.at[:, 0].multiply(3), x) > 1e-3).all()


def test_the_weights_of_relations_weigh_them():
    a, teacher = normal(5, 4), normal(5, 3, seed=1)
    loss = lambda d, angle: distillation.relational(  # noqa: E731
        a, teacher, distance_weight=d, angle_weight=angle
    )
    np.testing.assert_allclose(loss(25.0, 50.0), loss(25.0, 0.0) + loss(0.0, 50.0), rtol=1e-5)
    np.testing.assert_allclose(loss(25.0, 0.0), 25 * loss(1.0, 0.0), rtol=1e-5)
    assert (loss(1.0, 0.0) > 0).all()


def test_a_high_temperature_compares_logits():
    # As T grows, T^2 KL tends to the squares of centred logits over 2 C (Hinton et al. 2015).
    student, teacher = normal(4, 5), normal(4, 5, seed=1)
    gap = student - teacher
    expected = jnp.sum((gap - gap.mean(1, keepdims=True)) ** 2, 1) / 10
    got = distillation.distillation(student, teacher, temperature=100.0)
    np.testing.assert_allclose(got, expected, rtol=0.05)


def test_angles_of_a_triangle():
    # Right-angled at row 0 for the student, equilateral for the teacher: cosines 0 and 1 / 2.
    student = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    teacher = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]])
    got = distillation.relational(student, teacher, distance_weight=0.0, angle_weight=1.0)
    expected = [(0.5) ** 2 / 2, *[(math.sqrt(0.5) - 0.5) ** 2 / 2] * 2]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def relational_gradient(a):
    return jax.grad(lambda a: distillation.relational(a, normal(8, 3, seed=1)).sum())(a)


def feature_gradient(a):
    teacher = normal(8, 4, seed=1)
    return jax.grad(lambda a: distillation.feature(a, teacher, normalise=True).sum())(a)


def test_equal_and_all_but_equal_rows_have_finite_gradients():
    of_relations, of_features = jax.jit(relational_gradient), jax.jit(feature_gradient)
    for width in (1e-18, 1e-12, 1.0):
        a = normal(3, 4) * width
        a = jnp.concatenate([a, a, jnp.zeros((2, 4))])
        assert np.isfinite(of_relations(a)).all()
        assert np.isfinite(of_features(a)).all()
        assert (of_features(a)[-2:] == 0).all()
