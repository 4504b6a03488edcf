"""Products and mixtures of Gaussian posteriors: closed forms, frequencies, sampled moments."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mmjax.errors import UserError
from mmjax.fusion.pooling.variational import VariationalFusion
from mmjax.nn.layers.gaussian import Gaussian, mixture_moments, product_of_experts, sample
from mmjax.types import Tokens
from tests.fusion.oracle import means, run, tokens

POSTERIORS = ("poe", "moe", "mopoe")
NAMES = ("audio", "image", "text")
every_posterior = pytest.mark.parametrize("posterior", POSTERIORS)


def gaussians(*shape, scale=1.0):
    random = np.random.default_rng(0)
    return Gaussian(*(jnp.asarray(scale * random.normal(size=shape), jnp.float32) for _ in "ms"))


def plain_product(experts, *, prior):
    """mean and variance of a product of experts [(mean, variance), ...]."""
    experts = [*experts, (0.0, 1.0)] if prior or not experts else experts
    precision = sum(1 / variance for _, variance in experts)
    return sum(mean / variance for mean, variance in experts) / precision, 1 / precision


@pytest.mark.parametrize("prior", [True, False])
def test_product_weighs_means_by_their_precisions(prior):
    experts = gaussians(2, 3, 4)
    subsets = list(itertools.product([False, True], repeat=3))
    members = jnp.asarray([subsets, subsets])
    products = jax.jit(product_of_experts, static_argnames="prior")(experts, members, prior=prior)
    for row, (place, subset) in itertools.product(range(2), enumerate(subsets)):
        chosen = [
            (experts.mean[row, i], np.exp(experts.log_variance[row, i]))
            for i in range(3)
            if subset[i]
        ]
        mean, variance = plain_product(chosen, prior=prior)
        np.testing.assert_allclose(products.mean[row, place], mean * np.ones(4), atol=1e-5)
        np.testing.assert_allclose(
            np.exp(products.log_variance[row, place]), variance * np.ones(4), rtol=1e-5
        )


def test_product_of_extreme_experts_is_finite_with_finite_gradients():
    experts = gaussians(1, 3, 4, scale=500.0)  # variances of e^-500 and e^500

    def total(experts):
        members = jnp.ones((1, 1, 3), bool)
        product = product_of_experts(experts, members, prior=True)
        return product.mean.sum() + product.log_variance.sum(), product

    gradient, product = jax.jit(jax.grad(total, has_aux=True))(experts)
    surest = np.argmin(np.concatenate([experts.log_variance[0], np.zeros((1, 4))]), axis=0)
    expected = np.concatenate([experts.mean[0], np.zeros((1, 4))])[surest, np.arange(4)]
    np.testing.assert_allclose(product.mean[0, 0], expected, rtol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((gradient, product)))


def test_gradients_of_products_and_moments():
    members = jnp.asarray([[[1, 1, 0], [0, 0, 0], [1, 1, 1]]], bool)
    weights = jnp.asarray([[0.25, 0.25, 0.5]])

    def moments(experts):
        return mixture_moments(product_of_experts(experts, members, prior=False), weights)

    check_grads(jax.jit(moments), (gaussians(1, 3, 2),), order=1, modes=["rev"], rtol=0.02)


def test_samples_have_the_pathwise_gradient():
    """z = m + exp(s / 2) e, so dz/dm = 1 and dz/ds = (z - m) / 2."""
    gaussian, key = gaussians(3, 4), jax.random.key(1)
    z = sample(key, gaussian)
    gradient = jax.grad(lambda g: sample(key, g).sum())(gaussian)
    np.testing.assert_allclose(gradient.mean, 1.0)
    np.testing.assert_allclose(gradient.log_variance, (z - gaussian.mean) / 2, atol=1e-5)


def plain_components(posterior, experts):
    """The Gaussians that the joint posterior mixes; `experts` are those of the present."""
    if not experts:
        return [(0.0, 1.0)]
    if posterior == "poe":
        return [plain_product(experts, prior=True)]
    if posterior == "moe":
        return experts
    subsets = itertools.product([False, True], repeat=len(experts))
    chosen = [[e for e, use in zip(experts, s, strict=True) if use] for s in subsets]
    return [plain_product(c, prior=False) for c in chosen if c]


@every_posterior
def test_the_joint_posterior_is_that_of_the_present_modalities(posterior):
    inputs = tokens(width=6, text_width=4)
    fused, params = run(VariationalFusion(3, posterior), inputs)
    assert sum(p.size for p in jax.tree.leaves(params)) == (6 + 1) * 6 + (4 + 1) * 6
    extras = fused.extras
    assert all(value.dtype == jnp.float32 for value in extras.values())
    for row in range(4):
        experts = {}
        for name, mean in means(inputs, row).items():
            dense = params[f"project_{name}"]
            m, s = np.split(mean @ dense["kernel"] + dense["bias"], 2)
            experts[name] = (m, np.exp(s))
        for place, name in enumerate(("image", "text")):
            m, v = experts.get(name, (np.zeros(3), np.ones(3)))
            np.testing.assert_allclose(extras["modality_mean"][row, place], m, atol=1e-5)
            np.testing.assert_allclose(
                np.exp(extras["modality_log_variance"][row, place]), v, rtol=1e-5
            )
            np.testing.assert_allclose(fused.tokens.x[row, place], m * (name in experts), atol=1e-5)
        components = plain_components(posterior, list(experts.values()))
        mean = sum(m for m, _ in components) / len(components) * np.ones(3)
        second = sum(m**2 + v for m, v in components) / len(components)
        np.testing.assert_allclose(fused.pooled[row], mean, atol=1e-5)
        np.testing.assert_allclose(extras["mean"][row], mean, atol=1e-5)
        np.testing.assert_allclose(np.exp(extras["log_variance"][row]), second - mean**2, rtol=1e-4)
        weight = np.asarray(extras["component_weight"][row])
        np.testing.assert_allclose(weight.sum(), 1, rtol=1e-6)
        if experts:
            np.testing.assert_allclose(weight[weight > 0], 1 / len(components), rtol=1e-6)
        used = [
            (extras["component_mean"][row, k], np.exp(extras["component_log_variance"][row, k]))
            for k in np.flatnonzero(weight)
        ]
        for m, v in components:  # in any order
            nearest = min(np.abs(m - a).max() + np.abs(v - b).max() for a, b in used)
            assert nearest < 1e-4


ROWS = 10_000


def many_rows():
    """Each row lacks a modality, or all of them; what is there is the same in all rows."""
    lacks = np.eye(4, dtype=bool).repeat(ROWS, axis=0)  # the last quarter lacks none of the three
    lacks = np.concatenate([lacks[:, :3], np.ones((ROWS, 3), bool)])
    vectors = np.random.default_rng(0).normal(size=(3, 4))
    return {
        name: Tokens(
            jnp.broadcast_to(jnp.asarray(vectors[i], jnp.float32), (len(lacks), 1, 4)),
            jnp.asarray(~lacks[:, i : i + 1]),
        )
        for i, name in enumerate(NAMES)
    }


@every_posterior
def test_samples_have_the_moments_of_the_joint_posterior(posterior):
    inputs, module = many_rows(), VariationalFusion(2, posterior)
    fused, params = run(module, inputs)

    @jax.jit
    def train(key):
        rngs = {"sample": key}
        return module.apply({"params": params}, inputs, deterministic=False, rngs=rngs).pooled

    z = np.asarray(train(jax.random.key(5)), np.float64)
    assert (np.abs(z - train(jax.random.key(6))).max(-1) > 0).all()
    for part in range(5):  # without audio, without image, without text, all, nothing
        rows = slice(part * ROWS, (part + 1) * ROWS)
        variance = np.exp(fused.extras["log_variance"][rows][0])
        error = np.abs(z[rows].mean(0) - fused.pooled[rows][0])
        assert (error < 5 * np.sqrt(variance / ROWS)).all(), (part, error)
        np.testing.assert_allclose(z[rows].var(0), variance, rtol=0.06)


def test_a_mixture_draws_each_present_expert_equally_often():
    inputs, module = many_rows(), VariationalFusion(1, "moe")
    places = {"audio": 0.0, "image": 10.0, "text": 20.0}
    params = {
        f"project_{n}": {"kernel": jnp.zeros((4, 2)), "bias": jnp.asarray([place, -8.0])}
        for n, place in places.items()
    }
    rngs = {"sample": jax.random.key(2)}
    apply = jax.jit(lambda i: module.apply({"params": params}, i, deterministic=False, rngs=rngs))
    z = np.asarray(apply(inputs).pooled)[: 4 * ROWS, 0].reshape(4, ROWS)
    drawn = np.round(z / 10).astype(int)
    shares = np.stack([(drawn == k).mean(1) for k in range(3)], axis=1)
    expected = [[0, 1 / 2, 1 / 2], [1 / 2, 0, 1 / 2], [1 / 2, 1 / 2, 0], [1 / 3] * 3]
    np.testing.assert_allclose(shares, expected, atol=0.02)
    np.testing.assert_array_equal(shares[np.array(expected) == 0], 0)


@every_posterior
def test_gradients_flow_through_samples_to_every_present_modality(posterior):
    inputs = jax.tree.map(lambda x: x[3 * ROWS : 3 * ROWS + 64], many_rows())
    module = VariationalFusion(2, posterior)
    _, params = run(module, inputs)

    @jax.jit
    def gradient(params):
        def loss(params):
            rngs = {"sample": jax.random.key(0)}
            return (module.apply(params, inputs, deterministic=False, rngs=rngs).pooled ** 2).sum()

        return jax.grad(loss)({"params": params})["params"]

    for leaf in jax.tree.leaves(gradient(params)):
        assert np.abs(leaf).min() > 0


def test_unknown_posterior_lists_the_known():
    with pytest.raises(UserError, match="unknown posterior 'vae': choose one of moe, mopoe, poe"):
        jax.eval_shape(VariationalFusion(3, "vae").init, jax.random.key(0), tokens())
