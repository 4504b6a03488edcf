"""Divergences of Gaussians and the ELBO against loops, samples and a model solved exactly."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from mmjax.losses.generative import variational
from tests.losses import contract
from tests.losses.contract import normal

LATENT = 3


def draw(*shapes):
    return lambda rng, rows: tuple(rng.normal(size=(rows, *shape)) for shape in shapes)


def kl(m, s, n, t):
    """Of N(m, s^2) from N(n, t^2), both in one dimension."""
    return math.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - 1 / 2


def naive_kl(mean, log_variance, other_mean, other_log_variance, mask):
    values = np.zeros(len(mask))
    for i in np.flatnonzero(mask):
        for d in range(mean.shape[1]):
            deviations = [math.exp(x[i, d] / 2) for x in (log_variance, other_log_variance)]
            values[i] += kl(mean[i, d], deviations[0], other_mean[i, d], deviations[1])
    return values


def naive_kl_standard_normal(mean, log_variance, mask, free_bits=0.0):
    values = np.zeros(len(mask))
    for i in np.flatnonzero(mask):
        for m, v in zip(mean[i], log_variance[i], strict=True):
            values[i] += max(free_bits, kl(m, math.exp(v / 2), 0, 1))
    return values


def naive_elbo(reconstruction_nll, mean, log_variance, mask):
    divergence = naive_kl_standard_normal(mean, log_variance, mask, 0.3)
    return np.where(mask, reconstruction_nll + 4 * divergence, 0)


def draw_mixture(rng, rows):
    weights = rng.uniform(0.1, 1, size=(rows, 4))
    return *draw((4, LATENT), (4, LATENT))(rng, rows), weights / weights.sum(1, keepdims=True)


def naive_kl_mixture(mean, log_variance, weight, mask):
    each = [naive_kl_standard_normal(mean[:, k], log_variance[:, k], mask) for k in range(4)]
    return np.array([sum(weight[i, k] * each[k][i] for k in range(4)) for i in range(len(mask))])


SHAPES = draw((LATENT,), (LATENT,))
CASES = {
    "kl_standard_normal": contract.Case(
        variational.kl_standard_normal, SHAPES, naive_kl_standard_normal, mixes=False
    ),
    "kl_standard_normal, free bits": contract.Case(
        functools.partial(variational.kl_standard_normal, free_bits=0.5),
        SHAPES,
        functools.partial(naive_kl_standard_normal, free_bits=0.5),
        mixes=False,
    ),
    "kl_gaussians": contract.Case(
        variational.kl_gaussians, draw(*[(LATENT,)] * 4), naive_kl, mixes=False
    ),
    "elbo": contract.Case(
        functools.partial(variational.elbo, beta=4.0, free_bits=0.3),
        draw((), (LATENT,), (LATENT,)),
        naive_elbo,
        mixes=False,
    ),
    "kl_mixture": contract.Case(
        variational.kl_mixture, draw_mixture, naive_kl_mixture, mixes=False
    ),
}


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


def test_divergences_are_those_of_samples():
    mean, log_variance, other_mean, other_log_variance = (normal(3, 2, seed=i) for i in range(4))
    noise = np.random.default_rng(9).normal(size=(400_000, 3, 2))
    x = mean + np.exp(log_variance / 2) * noise

    def log_density(x, mean, log_variance):
        return np.sum(-((x - mean) ** 2) / np.exp(log_variance) - log_variance, -1) / 2

    own = log_density(x, mean, log_variance)
    for other, got in (
        ((0.0, np.zeros(2)), variational.kl_standard_normal(mean, log_variance)),
        (
            (other_mean, other_log_variance),
            variational.kl_gaussians(mean, log_variance, other_mean, other_log_variance),
        ),
    ):
        gaps = own - log_density(x, *other)
        error = gaps.std(0) / math.sqrt(len(gaps))
        np.testing.assert_array_less(np.abs(gaps.mean(0) - got), 4 * error)
        assert (error < 0.02 * got).all()


def test_divergence_from_the_standard_normal_is_that_from_zeros():
    mean, log_variance, zero = normal(4, 3), normal(4, 3, seed=1), jnp.zeros((4, 3))
    np.testing.assert_allclose(
        variational.kl_standard_normal(mean, log_variance),
        variational.kl_gaussians(mean, log_variance, zero, zero),
        rtol=1e-6,
    )
    same = variational.kl_gaussians(mean, log_variance, mean, log_variance)
    np.testing.assert_array_equal(same, 0)


def test_a_small_divergence_keeps_its_digits():
    log_variance = jnp.array([[1e-3], [-1e-3], [1e-4]])
    got = variational.kl_standard_normal(jnp.zeros((3, 1)), log_variance)
    exact = np.float64(log_variance[:, 0])
    # exp(x) - 1 - x would be wrong by ten times the last of them.
    np.testing.assert_allclose(got, (np.expm1(exact) - exact) / 2, rtol=0.01)


@pytest.mark.parametrize("log_variance", [1e4, 31.0, 29.0, -1e4])
def test_extreme_log_variances_are_pulled_back(log_variance):
    losses = {
        "standard": lambda x: variational.kl_standard_normal(jnp.ones((1, 1)), x),
        "other": lambda x: variational.kl_gaussians(jnp.ones((1, 1)), x, *jnp.zeros((2, 1, 1))),
    }
    for loss in losses.values():
        value, slope = jax.value_and_grad(lambda x: loss(x)[0])(jnp.full((1, 1), log_variance))  # noqa: B023
        assert np.isfinite(value)
        assert np.isfinite(slope).all()
        assert np.sign(slope) == np.sign(log_variance)
    exact = (math.exp(29.0) + 1 - 1 - 29.0) / 2
    if log_variance == 29.0:
        np.testing.assert_allclose(value, exact, rtol=1e-5)


def test_free_bits_have_no_gradient():
    mean, log_variance = jnp.array([[0.1, 3.0]]), jnp.zeros((1, 2))
    loss = lambda m: variational.kl_standard_normal(m, log_variance, free_bits=0.5)[0]  # noqa: E731
    np.testing.assert_allclose(loss(mean), 0.5 + 4.5)
    np.testing.assert_array_equal(jax.grad(loss)(mean), [[0.0, 3.0]])


def principal_components(seed=0, size=6):
    """x = W z + noise of deviation s, W with orthogonal columns: the posterior is diagonal."""
    rng = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(rng.normal(size=(size, LATENT)))
    weights, deviation = directions * [3.0, 1.5, 0.7], 0.8
    x = rng.normal(size=(5, LATENT)) @ weights.T + deviation * rng.normal(size=(5, size))
    precision = np.sum(weights**2, axis=0) / deviation**2 + 1
    return x, weights, deviation, x @ weights / deviation**2 / precision, -np.log(precision)


def expected_nll(x, weights, deviation, mean, log_variance):
    """-log p(x|z), its mean over z of the posterior, which is Gaussian."""
    squares = ((x - mean @ weights.T) ** 2).sum(1)
    squares += np.exp(log_variance) @ (weights**2).sum(0)
    return x.shape[1] * math.log(2 * math.pi * deviation**2) / 2 + squares / (2 * deviation**2)


def test_elbo_of_probabilistic_principal_components_is_the_likelihood():
    x, weights, deviation, mean, log_variance = principal_components()
    covariance = weights @ weights.T + deviation**2 * np.eye(x.shape[1])
    exact = -multivariate_normal(np.zeros(x.shape[1]), covariance).logpdf(x)

    def negative_elbo(mean, log_variance):
        log_variance = np.broadcast_to(log_variance, mean.shape)
        nll = expected_nll(x, weights, deviation, mean, log_variance)
        return variational.elbo(*(jnp.asarray(y, jnp.float32) for y in (nll, mean, log_variance)))

    np.testing.assert_allclose(negative_elbo(mean, log_variance), exact, rtol=1e-5)
    for other in ((mean + 0.1, log_variance), (mean, log_variance + 0.2), (0 * mean, 0.0)):
        assert (negative_elbo(*other) > exact + 1e-3).all()


def test_a_learned_beta_has_a_gradient():
    mean, log_variance = normal(4, 3), normal(4, 3, seed=1)
    loss = lambda beta: variational.elbo(normal(4), mean, log_variance, beta=beta).sum()  # noqa: E731
    expected = variational.kl_standard_normal(mean, log_variance).sum()
    np.testing.assert_allclose(jax.grad(loss)(2.0), expected, rtol=1e-5)


def test_components_without_weight_may_be_anything():
    mean, log_variance = normal(3, 4, LATENT), normal(3, 4, LATENT, seed=1)
    weight = jnp.array([[0.5, 0.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.3, 0.3, 0.4]])
    unused = (weight == 0)[..., None]
    dirty = [jnp.where(unused, bad, x) for bad, x in ((jnp.nan, mean), (1e9, log_variance))]
    loss = lambda *x: variational.kl_mixture(*x).sum()  # noqa: E731
    np.testing.assert_array_equal(
        variational.kl_mixture(*dirty, weight), variational.kl_mixture(mean, log_variance, weight)
    )
    for gradient in jax.grad(loss, (0, 1))(*dirty, weight):
        assert (gradient[jnp.broadcast_to(unused, gradient.shape)] == 0).all()
        assert np.isfinite(gradient).all()
    assert np.isfinite(jax.grad(loss, 2)(*dirty, weight)).all()
    alone = variational.kl_standard_normal(mean[1:2, 0], log_variance[1:2, 0])
    np.testing.assert_allclose(variational.kl_mixture(mean, log_variance, weight)[1], alone[0])


def test_the_divergence_of_a_mixture_is_no_more_than_its_components():
    mean, log_variance = np.array([-2.0, 1.0]), np.array([-1.0, 0.5])
    x = np.linspace(-15, 15, 20001)[:, None]
    densities = np.exp(-((x - mean) ** 2) / (2 * np.exp(log_variance)) - log_variance / 2)
    mixture = (densities @ [0.3, 0.7]) / math.sqrt(2 * math.pi)
    prior = np.exp(-(x[:, 0] ** 2) / 2) / math.sqrt(2 * math.pi)
    exact = np.sum(np.where(mixture > 0, mixture * np.log(mixture / prior), 0)) * (x[1] - x[0])
    arrays = (mean[None, :, None], log_variance[None, :, None], np.array([[0.3, 0.7]]))
    bound = variational.kl_mixture(*(jnp.asarray(y, jnp.float32) for y in arrays))
    assert exact[0] < bound[0] < exact[0] + 0.7  # at most the entropy of the weights more
