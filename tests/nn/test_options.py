"""The exact GELU is x Phi(x), in value and gradient, and finite far out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mmjax.nn.options import ACTIVATIONS, gelu_exact

X = np.linspace(-9.0, 9.0, 2001)


def test_is_x_phi_x_and_so_is_its_gradient():
    expected = X * special.ndtr(X)
    slope = special.ndtr(X) + X * stats.norm.pdf(X)
    x = jnp.asarray(X, jnp.float32)
    np.testing.assert_allclose(gelu_exact(x), expected, atol=2e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(gelu_exact))(x), slope, atol=2e-6)
    assert ACTIVATIONS["gelu_exact"] is gelu_exact


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
