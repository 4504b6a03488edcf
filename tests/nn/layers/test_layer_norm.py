"""Layer norm: its formula and derivative in float64 numpy, as a CPU and as others compute it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mmjax.nn.layers.layer_norm import LayerNorm, layer_norm

EPSILON = 1e-3


@pytest.fixture(params=("cpu", "default"), autouse=True)
def branch(request, monkeypatch):
    """What is computed on a CPU, and on others."""

    def take(*operands, **branches):
        return branches[request.param](*operands)

    monkeypatch.setattr(jax.lax, "platform_dependent", take)


def given(shape=(3, 5, 7), mean=2.0, dtype=jnp.float32):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(mean, 1.5, shape), dtype)
    scale, bias = (jnp.asarray(random.normal(1, 0.5, shape[-1]), jnp.float32) for _ in range(2))
    return x, scale, bias


def oracle(x, scale, bias):
    x, scale, bias = (np.asarray(z, np.float64) for z in (x, scale, bias))
    out = np.empty_like(x)
    for row in np.ndindex(x.shape[:-1]):
        centred = x[row] - x[row].mean()
        out[row] = centred / np.sqrt((centred**2).mean() + EPSILON) * scale + bias
    return out


def oracle_gradient(x, scale, d_y):
    """Of sum(d_y * y), by the Jacobian of each row."""
    x, scale, d_y = (np.asarray(z, np.float64) for z in (x, scale, d_y))
    d_x, d_scale, width = np.empty_like(x), np.zeros_like(scale), x.shape[-1]
    for row in np.ndindex(x.shape[:-1]):
        centred = x[row] - x[row].mean()
        deviation = np.sqrt((centred**2).mean() + EPSILON)
        jacobian = (np.eye(width) - 1 / width) / deviation
        jacobian -= np.outer(centred, centred) / (width * deviation**3)
        d_x[row] = (d_y[row] * scale) @ jacobian
        d_scale += d_y[row] * centred / deviation
    return d_x, d_scale, d_y.reshape(-1, width).sum(0)


def gradient(x, scale, bias, d_y):
    return jax.vjp(lambda *given: layer_norm(*given, EPSILON), x, scale, bias)[1](d_y)


@pytest.mark.parametrize("shape", [(3, 5, 7), (4, 7), (7,), (2, 0, 7), (3, 1)])
def test_matches_the_formula(shape):
    x, scale, bias = given(shape)
    np.testing.assert_allclose(
        layer_norm(x, scale, bias, EPSILON), oracle(x, scale, bias), rtol=1e-5, atol=1e-5
    )
    d_y = jnp.cos(jnp.arange(x.size, dtype=jnp.float32)).reshape(shape)
    wanted = oracle_gradient(x, scale, d_y)
    for found, right in zip(gradient(x, scale, bias, d_y), wanted, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)


def test_a_large_mean_leaves_the_variance():
    x, scale, bias = given(mean=3000.0)
    y = layer_norm(x, scale, bias, EPSILON)
    np.testing.assert_allclose(y, oracle(x, scale, bias), atol=5e-3)


def test_second_derivatives():
    def norm(*given):
        return layer_norm(*map(jnp.asarray, given), EPSILON)

    check_grads(norm, given((2, 5)), order=2, modes=["rev"], rtol=0.02)


def test_equal_features_give_the_bias_and_a_finite_gradient():
    _, scale, bias = given()
    x = jnp.full((2, 7), 5.0)
    np.testing.assert_array_equal(layer_norm(x, scale, bias, EPSILON), jnp.stack([bias, bias]))
    d_x, d_scale, _ = gradient(x, scale, bias, jnp.ones((2, 7)))
    assert np.isfinite(d_x).all()
    np.testing.assert_array_equal(d_scale, 0)


def test_rows_do_not_mix():
    x, scale, bias = given((4, 7))
    changed = x.at[2].set(1e30)
    y, other = (layer_norm(z, scale, bias, EPSILON) for z in (x, changed))
    rows = jnp.array([0, 1, 3])
    np.testing.assert_array_equal(y[rows], other[rows])
    d_y = jnp.ones_like(x).at[2].set(0)
    d_x, *_ = gradient(x, scale, bias, d_y)
    np.testing.assert_array_equal(d_x[2], 0)


def test_bfloat16_is_normalised_in_float32_and_has_gradients_of_its_own_type():
    x, scale, bias = given(dtype=jnp.bfloat16)
    y = layer_norm(x, scale, bias, EPSILON)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, oracle(x, scale, bias), rtol=1e-5, atol=1e-5)
    assert [z.dtype for z in gradient(x, scale, bias, y)] == [jnp.bfloat16, *[jnp.float32] * 2]


def test_vmap_is_a_row_at_a_time():
    x, scale, bias = given()
    mapped = jax.vmap(layer_norm, (0, None, None, None))(x, scale, bias, EPSILON)
    np.testing.assert_allclose(mapped, layer_norm(x, scale, bias, EPSILON), rtol=1e-6, atol=1e-6)


def test_the_module_has_the_parameters_of_flax():
    x, scale, bias = given()
    ours, theirs = LayerNorm(EPSILON), nn.LayerNorm(EPSILON)
    shapes = [jax.tree.map(jnp.shape, m.init(jax.random.key(0), x)) for m in (ours, theirs)]
    assert shapes[0] == shapes[1]
    variables = {"params": {"scale": scale, "bias": bias}}
    y = ours.apply(variables, x)
    np.testing.assert_allclose(y, theirs.apply(variables, x), rtol=1e-5, atol=1e-5)
    plain = LayerNorm(EPSILON, affine=False)
    assert not plain.init(jax.random.key(0), x)
    np.testing.assert_allclose(plain.apply({}, x) * scale + bias, y, rtol=1e-6, atol=1e-6)
