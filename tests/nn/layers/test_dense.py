"""Dense is flax's Dense: same parameters, values and gradients."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.nn.layers.dense import Dense


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 3, 6), (2, 3, 4, 6)])
def test_equals_flax(shape, use_bias):
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    ours, theirs = Dense(7, use_bias), nn.Dense(7, use_bias)
    variables = theirs.init(jax.random.key(0), x)
    np.testing.assert_array_equal(
        ours.init(jax.random.key(0), x)["params"]["kernel"], variables["params"]["kernel"]
    )

    def loss(module):
        return lambda variables, x: (module.apply(variables, x) ** 2).sum()

    expected = jax.jit(jax.value_and_grad(loss(theirs), (0, 1)))(variables, x)
    actual = jax.jit(jax.value_and_grad(loss(ours), (0, 1)))(variables, x)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), actual, expected
    )


def test_parameters_stay_float32():
    module = Dense(7, dtype=jnp.bfloat16)
    y, variables = module.init_with_output(jax.random.key(0), jnp.ones((2, 3)))
    assert y.dtype == jnp.bfloat16
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))


def test_parameters_may_be_numpy_arrays():
    x = jnp.ones((2, 3))
    variables = Dense(7).init(jax.random.key(0), x)
    gradient = jax.grad(lambda x, variables: (Dense(7).apply(variables, x) ** 2).sum())
    plain = gradient(x, jax.tree.map(np.asarray, variables))
    np.testing.assert_allclose(plain, gradient(x, variables), rtol=1e-6)
