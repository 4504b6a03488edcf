"""Bounds of information and entropies against loops, and where they are known exactly."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mmjax.losses.alignment import information
from tests.losses import contract
from tests.losses.contract import normal

WIDTH = 4
SCORED = [information.donsker_varadhan, information.nwj, information.jensen_shannon]
scored = pytest.mark.parametrize("loss", SCORED, ids=lambda loss: loss.__name__)


def draw(*shapes):
    """Makes inputs of these shapes after the rows."""
    return lambda rng, rows: tuple(rng.normal(size=(rows, *shape)) for shape in shapes)


def naive_bound(scores, mask, name):
    rows = np.flatnonzero(mask)
    losses = np.zeros(len(mask))
    if len(rows) < 2:
        return losses
    pairs = [math.exp(scores[i, j]) for i in rows for j in rows if i != j]
    for i in rows:
        others = [scores[i, j] for j in rows if j != i]
        if name == "donsker_varadhan":
            losses[i] = math.log(sum(pairs) / len(pairs)) - scores[i, i]
        elif name == "nwj":
            losses[i] = sum(math.exp(s - 1) for s in others) / len(others) - scores[i, i]
        else:
            real = 1 / (1 + math.exp(-scores[i, i]))
            fake = [1 - 1 / (1 + math.exp(-s)) for s in others]
            losses[i] = -math.log(real) - sum(map(math.log, fake)) / len(others)
    return losses


def naive_mine(name):
    return lambda a, b, mask: naive_bound(a @ b.T / 2, mask, name)


def log_normal(x, mean, log_variance):
    return sum(
        -((x[d] - mean[d]) ** 2) / (2 * math.exp(log_variance[d]))
        - math.log(2 * math.pi * math.exp(log_variance[d])) / 2
        for d in range(len(x))
    )


def naive_club(mean, log_variance, b, mask):
    rows = np.flatnonzero(mask)
    losses = np.zeros(len(mask))
    for i in rows:
        each = [log_normal(b[j], mean[i], log_variance[i]) for j in rows]
        losses[i] = log_normal(b[i], mean[i], log_variance[i]) - sum(each) / len(each)
    return losses


def naive_gaussian_nll(mean, log_variance, targets, mask):
    rows = zip(targets, mean, log_variance, mask, strict=True)
    return np.array([-log_normal(t, m, s) * keep for t, m, s, keep in rows])


def naive_interaction_entropy(a, b, mask):
    rows = np.flatnonzero(mask)
    losses = np.zeros(len(mask))
    for i in rows if len(rows) > 1 else []:
        for x, y in ((a, b), (b, a)):
            weights = [math.exp(x[i] @ y[j] / 2) for j in rows]
            shares = [w / sum(weights) for w in weights]
            losses[i] -= sum(p * math.log(p) for p in shares) / math.log(len(rows)) / 2
    return losses


def naive_functional_entropy(logits, perturbed, mask):
    softmax = lambda x: np.exp(x) / np.exp(x).sum()  # noqa: E731
    losses = np.zeros(len(mask))
    for i in np.flatnonzero(mask):
        p, f = softmax(logits[i]), []
        for row in perturbed[i]:
            q = softmax(row)
            f.append(sum(p[c] * math.log(p[c] / q[c]) for c in range(len(p))))
        mean = sum(f) / len(f)
        losses[i] = mean * math.log(mean) - sum(x * math.log(x) for x in f) / len(f)
    return losses


def mine(bound):
    loss = functools.partial(information.mine, bound=bound, temperature=2.0)
    return contract.Case(loss, draw((WIDTH,), (WIDTH,)), naive_mine(bound))


CASES = {
    "donsker_varadhan": mine("donsker_varadhan"),
    "nwj": mine("nwj"),
    "jensen_shannon": mine("jensen_shannon"),
    "club": contract.Case(information.club, draw((WIDTH,), (WIDTH,), (WIDTH,)), naive_club),
    "gaussian_nll": contract.Case(
        information.gaussian_nll,
        draw((WIDTH,), (WIDTH,), (WIDTH,)),
        naive_gaussian_nll,
        mixes=False,
    ),
    "interaction_entropy": contract.Case(
        functools.partial(information.interaction_entropy, temperature=2.0),
        draw((WIDTH,), (WIDTH,)),
        naive_interaction_entropy,
    ),
    "functional_entropy": contract.Case(
        information.functional_entropy,
        draw((5,), (3, 5)),
        naive_functional_entropy,
        mixes=False,
    ),
}


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


@scored
def test_scores_of_masked_rows_and_columns_are_not_read(loss):
    scores, mask = normal(6, 6), np.array([True, False, True, True, False, True])
    kept = mask[:, None] & mask
    dirty = jnp.where(kept, scores, jnp.nan)
    expected = naive_bound(np.float64(scores), mask, loss.__name__)
    np.testing.assert_allclose(loss(dirty, mask=jnp.array(mask)), expected, rtol=1e-5)
    gradient = jax.grad(lambda s: loss(s, mask=jnp.array(mask)).sum())(dirty)
    assert np.isfinite(gradient).all()
    assert (gradient[~kept] == 0).all()
    assert (gradient[kept] != 0).all()


@scored
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_extreme_scores_have_a_finite_loss_and_a_gradient(loss, scale):
    scores = jnp.where(jnp.eye(4, dtype=bool), -scale, scale)
    value, gradient = jax.value_and_grad(lambda s: loss(s).sum())(scores)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    if scale > 0:  # wrong as can be: the joint scores go up and the others go down
        assert (jnp.sign(gradient) == 1 - 2 * jnp.eye(4)).all()


@scored
def test_scores_of_bfloat16_give_a_float32_loss(loss):
    scores = normal(5, 5).astype(jnp.bfloat16)
    assert loss(scores).dtype == jnp.float32
    np.testing.assert_allclose(loss(scores), loss(scores.astype(jnp.float32)), rtol=1e-6)


def test_the_exponential_is_exact_up_to_30_and_then_a_line():
    x = jnp.array([-80.0, -20.0, 0.0, 30.0, 31.0, 1e4])
    expected = np.exp(np.minimum(x, 30.0).astype(np.float64)) * [1, 1, 1, 1, 2, 9971]
    np.testing.assert_allclose(information.exponential(x), expected, rtol=1e-5)
    slopes = jax.vmap(jax.grad(information.exponential))(x)
    np.testing.assert_allclose(slopes, np.exp(np.minimum(x, 30.0)), rtol=1e-5)


def gaussians(rows, correlation):
    """Pairs of standard normal numbers, and their log p(a, b) / (p(a) p(b)) for all pairs."""
    a, noise = np.random.default_rng(0).normal(size=(2, rows, 1))
    rho = correlation
    b = rho * a + math.sqrt(1 - rho**2) * noise
    x, y = a, b.T
    exponent = (2 * rho * x * y - rho**2 * (x**2 + y**2)) / (2 * (1 - rho**2))
    ratio = exponent - math.log(1 - rho**2) / 2
    return *(jnp.asarray(z, jnp.float32) for z in (a, b)), jnp.asarray(ratio, jnp.float32)


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.7])
def test_bounds_of_gaussians_are_their_information(correlation):
    a, b, ratio = gaussians(2000, correlation)
    known = -math.log(1 - correlation**2) / 2
    # The best critics: the log ratio of densities, for NWJ with 1 more.
    np.testing.assert_allclose(-information.donsker_varadhan(ratio).mean(), known, atol=0.03)
    np.testing.assert_allclose(-information.nwj(ratio + 1).mean(), known, atol=0.03)
    worse = information.donsker_varadhan(ratio / 2).mean()
    assert -worse <= known + 1e-3
    log_variance = jnp.full_like(b, math.log(1 - correlation**2))
    upper = information.club(correlation * a, log_variance, b).mean()
    exact = correlation**2 / (1 - correlation**2)  # of CLUB with the true conditional
    np.testing.assert_allclose(upper, exact, atol=0.05)
    assert upper >= known - 1e-3
    entropy = math.log(2 * math.pi * math.e * (1 - correlation**2)) / 2
    nll = information.gaussian_nll(correlation * a, log_variance, b).mean()
    np.testing.assert_allclose(nll, entropy, atol=0.03)


def test_without_scores_the_bounds_are_their_constants():
    zero = jnp.zeros((3, 3))
    np.testing.assert_array_equal(information.donsker_varadhan(zero), 0)
    np.testing.assert_allclose(information.nwj(zero), math.exp(-1), rtol=1e-6)
    np.testing.assert_allclose(information.jensen_shannon(zero), 2 * math.log(2), rtol=1e-6)


@pytest.mark.parametrize("bound", information.BOUNDS)
def test_mine_is_the_bound_of_its_scores(bound):
    a, b, mask = normal(5, 3), normal(5, 3, seed=1), jnp.arange(5) != 2
    expected = information.BOUNDS[bound](a @ b.T / 0.5, mask=mask)
    got = information.mine(a, b, temperature=0.5, bound=bound, mask=mask)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert information.BOUNDS[bound].__name__ == bound


def test_an_unknown_bound_is_refused():
    with pytest.raises(ValueError, match="is: donsker_varadhan, jensen_shannon, nwj"):
        information.mine(normal(3, 2), normal(3, 2), bound="infonce")


@pytest.mark.parametrize("name", [*information.BOUNDS, "interaction_entropy"])
def test_a_learned_temperature_has_a_gradient(name):
    loss = information.interaction_entropy
    if name in information.BOUNDS:
        loss = functools.partial(information.mine, bound=name)
    a, b = normal(5, 3), normal(5, 3, seed=1)
    check_grads(
        lambda scale: loss(a, b, temperature=jnp.exp(-jnp.asarray(scale))),
        (jnp.float32(-0.5),),
        order=1,
        modes=["rev"],
        rtol=0.02,
    )


def test_club_does_not_suffer_from_a_common_offset():
    mean, log_variance, b = normal(6, 3), normal(6, 3, seed=1), normal(6, 3, seed=2)
    near = information.club(mean, log_variance, b)
    far = information.club(mean + 1000, log_variance, b + 1000)
    np.testing.assert_allclose(near, far, atol=0.02)


def test_interaction_entropy_is_between_none_and_all():
    same, apart = jnp.ones((4, 4)), 100 * jnp.eye(4)
    np.testing.assert_allclose(information.interaction_entropy(same, same), 1, rtol=1e-6)
    np.testing.assert_array_equal(information.interaction_entropy(apart, apart), 0)
    mask = jnp.array([True, True, True, False])
    np.testing.assert_allclose(
        information.interaction_entropy(same, same, mask=mask), mask, rtol=1e-6
    )


def test_functional_entropy_of_equal_or_no_distances_is_zero_and_has_a_gradient():
    logits = normal(3, 5)
    moved = logits.at[:, 0].add(1.0)
    total = jax.jit(jax.value_and_grad(lambda *x: information.functional_entropy(*x).sum(), (0, 1)))
    for perturbed in ([logits] * 4, [moved] * 4):
        value, gradients = total(logits, jnp.stack(perturbed, axis=1))
        np.testing.assert_allclose(value, 0, atol=1e-6)
        assert all(np.isfinite(gradient).all() for gradient in gradients)
    # One of two that moves: f is (0, x), and the entropy (x / 2) log 2.
    x = jnp.sum(
        jax.nn.softmax(logits) * (jax.nn.log_softmax(logits) - jax.nn.log_softmax(moved)), 1
    )
    got = information.functional_entropy(logits, jnp.stack([logits, moved], axis=1))
    np.testing.assert_allclose(got, -x / 2 * math.log(2), rtol=1e-4)
