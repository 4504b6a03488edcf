"""Every activation is its formula; the exact GELU also in its gradient, and finite far out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mmjax.nn.layers.options import ACTIVATIONS, gelu_exact

X = np.linspace(-9.0, 9.0, 2001)
FORMULAS = {
    "gelu": X * (1 + np.tanh((2 / np.pi) ** 0.5 * (X + 0.044715 * X**3))) / 2,
    "gelu_exact": X * special.ndtr(X),
    "identity": X,
    "leaky_relu": np.where(X > 0, X, 0.01 * X),
    "quick_gelu": X * special.expit(1.702 * X),
    "relu": np.maximum(X, 0),
    "relu6": np.clip(X, 0, 6),
    "sigmoid": special.expit(X),
    "silu": X * special.expit(X),
    "tanh": np.tanh(X),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_is_its_formula(name):
    found = ACTIVATIONS[name](jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(found, FORMULAS[name], atol=2e-6)


def test_gradient_is_that_of_x_phi_x():
    slope = special.ndtr(X) + X * stats.norm.pdf(X)
    x = jnp.asarray(X, jnp.float32)
    np.testing.assert_allclose(jax.vmap(jax.grad(gelu_exact))(x), slope, atol=2e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_rounds_once(dtype):
    x = jnp.asarray(X, dtype)
    exact = np.asarray(x, np.float64) * special.ndtr(np.asarray(x, np.float64))
    found = gelu_exact(x)
    assert found.dtype == dtype
    # Half of the last place, and float32's own error near zero.
    np.testing.assert_allclose(
        np.asarray(found, np.float64), exact, rtol=0.51 * float(jnp.finfo(dtype).eps), atol=2e-6
    )


def test_is_finite_far_out():
    x = jnp.asarray([-1e30, -1e4, 0.0, 1e4, 1e30])
    np.testing.assert_array_equal(gelu_exact(x), jnp.maximum(x, 0.0))
    np.testing.assert_array_equal(jax.vmap(jax.grad(gelu_exact))(x), [0, 0, 0.5, 1, 1])


@pytest.mark.parametrize("name", ["gelu", "gelu_exact", "quick_gelu", "silu"])
def test_keeps_nothing_but_its_input_for_the_backward_pass(name):
    x = jnp.linspace(-3.0, 3.0, 7)
    _, backward = jax.vjp(ACTIVATIONS[name], x)
    kept = [leaf for leaf in jax.tree.leaves(backward) if jnp.size(leaf) == x.size]
    assert len(kept) == 1
    np.testing.assert_array_equal(kept[0], x)
