"""Batch norm: its formula in plain numpy, over real rows only; running statistics."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mmjax.nn.layers.batch_norm import BatchNorm

MASK = jnp.array([True, False, True, True])
NORM = BatchNorm(momentum=0.3, epsilon=1e-2)


def maps(rows=4, seed=0):
    random = np.random.default_rng(seed)
    return jnp.asarray(
        random.normal([2.0, -1.0, 0.0], [1.0, 0.1, 3.0], (rows, 3, 2, 3)), jnp.float32
    )


def variables(seed=1):
    random = np.random.default_rng(seed)
    draw = {name: jnp.asarray(random.uniform(0.5, 2, 3), jnp.float32) for name in "abcd"}
    return {
        "params": {"scale": draw["a"], "bias": draw["b"]},
        "batch_stats": {"mean": draw["c"], "var": draw["d"]},
    }


@jax.jit
def train(x, mask, params):
    return NORM.apply(
        variables() | {"params": params}, x, mask, deterministic=False, mutable=["batch_stats"]
    )


@jax.jit
def evaluate(x, mask):
    return NORM.apply(variables(), x, mask)


def oracle(x, mask):
    """Output and running statistics, channel by channel in float64."""
    x, old = np.asarray(x, np.float64), jax.tree.map(np.asarray, variables())
    out, mean, variance = np.zeros_like(x), np.zeros(3), np.zeros(3)
    for channel in range(3):
        real = np.concatenate([x[row, ..., channel].ravel() for row in np.flatnonzero(mask)])
        centred = real - real.mean()
        biased, unbiased = (centred**2).mean(), (centred**2).sum() / (real.size - 1)
        for row in np.flatnonzero(mask):
            normal = (x[row, ..., channel] - real.mean()) / np.sqrt(biased + 1e-2)
            scale, bias = (old["params"][name][channel] for name in ("scale", "bias"))
            out[row, ..., channel] = normal * scale + bias
        mean[channel] = 0.7 * old["batch_stats"]["mean"][channel] + 0.3 * real.mean()
        variance[channel] = 0.7 * old["batch_stats"]["var"][channel] + 0.3 * unbiased
    return out, mean, variance


@pytest.mark.parametrize("mask", [MASK, jnp.ones(4, bool), MASK.at[2].set(False)])
def test_training_equals_plain_numpy(mask):
    out, state = train(maps(), mask, variables()["params"])
    expected, mean, variance = oracle(maps(), mask)
    np.testing.assert_allclose(out, expected, atol=2e-5)
    np.testing.assert_allclose(state["batch_stats"]["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(state["batch_stats"]["var"], variance, rtol=1e-5)


def test_evaluation_uses_the_running_statistics():
    old = variables()
    stats, params = old["batch_stats"], old["params"]
    normal = (maps() - stats["mean"]) / np.sqrt(stats["var"] + 1e-2)
    expected = np.where(MASK[:, None, None, None], normal * params["scale"] + params["bias"], 0)
    np.testing.assert_allclose(evaluate(maps(), MASK), expected, atol=1e-5)
    np.testing.assert_array_equal(evaluate(maps(), MASK)[0], evaluate(maps(), jnp.ones(4, bool))[0])


@pytest.mark.parametrize("content", [np.nan, np.inf, 1e30])
def test_masked_rows_change_no_bit_and_have_no_gradient(content):
    dirty = jnp.where(MASK[:, None, None, None], maps(), content)

    @jax.jit
    def step(x):
        def loss(x, params):
            out, state = train(x, MASK, params)
            return (out**3).sum() + state["batch_stats"]["var"].sum(), (out, state)

        return jax.grad(loss, (0, 1), has_aux=True)(x, variables()["params"])

    clean, other = step(maps()), step(dirty)
    jax.tree.map(np.testing.assert_array_equal, other, clean)
    np.testing.assert_array_equal(other[0][0][1], 0)
    np.testing.assert_array_equal(other[1][0][1], 0)
    np.testing.assert_array_equal(evaluate(dirty, MASK), evaluate(maps(), MASK))


def test_a_batch_without_a_real_row_changes_nothing():
    none = jnp.zeros(4, bool)
    out, state = train(jnp.full((4, 3, 2, 3), jnp.nan), none, variables()["params"])
    jax.tree.map(np.testing.assert_array_equal, state["batch_stats"], variables()["batch_stats"])
    np.testing.assert_array_equal(out, 0)


def test_a_single_value_has_no_variance():
    x = jnp.asarray([[3.0, -2.0, 0.5]])
    out, state = train(x, jnp.ones(1, bool), variables()["params"])
    np.testing.assert_allclose(out[0], variables()["params"]["bias"], atol=1e-6)
    old = variables()["batch_stats"]
    np.testing.assert_allclose(state["batch_stats"]["var"], 0.7 * old["var"], rtol=1e-6)
    expected = 0.7 * old["mean"] + 0.3 * x[0]
    np.testing.assert_allclose(state["batch_stats"]["mean"], expected, rtol=1e-5)


def test_gradient_is_that_of_finite_differences():
    def run(x, params):
        return train(x, MASK, params)[0]

    check_grads(run, (maps(), variables()["params"]), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_a_far_mean_leaves_the_variance_exact():
    x = maps() + 1000.0
    out, _ = train(x, MASK, variables()["params"])
    expected, *_ = oracle(x, MASK)
    np.testing.assert_allclose(out, expected, atol=1e-2)


def test_initialisation_is_no_batch():
    made = jax.jit(lambda x: NORM.init(jax.random.key(0), x, deterministic=False))(maps())
    np.testing.assert_array_equal(made["batch_stats"]["mean"], 0)
    np.testing.assert_array_equal(made["batch_stats"]["var"], 1)


def test_half_precision_is_normalised_in_float32():
    half = maps().astype(jnp.bfloat16)
    out, state = train(half, MASK, variables()["params"])
    exact, full = train(half.astype(jnp.float32), MASK, variables()["params"])
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(out, exact.astype(jnp.bfloat16))
    jax.tree.map(np.testing.assert_array_equal, state, full)


def test_gradients_are_those_of_the_formula():
    real = MASK[:, None, None, None]

    def formula(x, params):
        """The gradient that jax derives, of the moments as one would write them."""
        count = MASK.sum() * 6
        mean = jnp.where(real, x, 0).sum((0, 1, 2)) / count
        variance = jnp.where(real, (x - mean) ** 2, 0).sum((0, 1, 2)) / count
        normal = (x - mean) / jnp.sqrt(variance + 1e-2)
        return jnp.where(real, normal * params["scale"] + params["bias"], 0)

    def gradient(run):
        return jax.jit(jax.grad(lambda *args: (run(*args) ** 3).sum(), (0, 1)))(
            maps(), variables()["params"]
        )

    own = gradient(lambda x, params: train(x, MASK, params)[0])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), own, gradient(formula)
    )


def test_devices_that_share_a_batch_meet_three_times():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.NamedSharding(mesh, jax.P("data"))
    args = jax.device_put((maps(), MASK), rows)

    @jax.jit
    def gradient(x, mask, params):
        loss = lambda x, params: (train(x, mask, params)[0] ** 3).sum()  # noqa: E731
        return jax.grad(loss, (0, 1))(x, params)

    shared = gradient(*args, variables()["params"])
    alone = gradient(maps(), MASK, variables()["params"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), shared, alone)
    program = gradient.lower(*args, variables()["params"]).compile().as_text()
    # Beside the number of real rows: mean, variance, and the two sums of the gradient together.
    assert len(re.findall(r"= \S+ all-reduce\(", program)) <= 4
    assert "all-gather" not in program
