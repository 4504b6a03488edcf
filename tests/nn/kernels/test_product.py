"""The product is matmul with its gradients, of any number of rows, and without a copy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mmjax.nn.kernels.product import product


def draw(*shapes, dtype=jnp.float32):
    random = np.random.default_rng(4)
    return [jnp.asarray(random.normal(size=shape), dtype) for shape in shapes]


def gradients(run, x, kernel, weights):
    def loss(x, kernel):
        return jnp.sum((run(x, kernel) * weights).astype(jnp.float32))

    return jax.grad(loss, (0, 1))(x, kernel)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("sizes", [(3, 5), (5, 3), (4, 4)])
@pytest.mark.parametrize("rows", [(), (4,), (6, 4), (2, 0), (2, 3, 4)])
def test_is_matmul_with_its_gradients(rows, sizes, dtype):
    width, features = sizes
    x, kernel, weights = draw((*rows, width), sizes, (*rows, features), dtype=dtype)
    np.testing.assert_array_equal(product(x, kernel), x @ kernel)
    found, right = (gradients(run, x, kernel, weights) for run in (product, jnp.matmul))
    for own, derived in zip(found, right, strict=True):
        assert own.dtype == derived.dtype == dtype
        own, derived = (np.asarray(a, np.float32) for a in (own, derived))
        near = 1e-6 if dtype == jnp.float32 else 0.02
        np.testing.assert_allclose(own, derived, atol=near * np.abs(derived).max(initial=1))


def test_second_derivatives():
    def run(x, kernel):
        return jnp.sin(product(jnp.asarray(x), jnp.asarray(kernel)))

    check_grads(run, draw((4, 3), (3, 5)), order=2, modes=["rev"], rtol=0.02)


def test_vmap_is_one_after_the_other():
    x, kernels, weights = draw((2, 6, 3), (2, 3, 5), (2, 6, 5))
    mapped = jax.vmap(lambda *given: gradients(product, *given))(x, kernels, weights)
    for i in range(2):
        single = gradients(product, x[i], kernels[i], weights[i])
        for found, right in zip(mapped, single, strict=True):
            np.testing.assert_allclose(found[i], right, rtol=1e-5, atol=1e-6)


def test_a_gradient_in_bfloat16_is_summed_with_more_bits():
    """4,096 ones: a sum in bfloat16 would stay at 256."""
    x, kernel = jnp.ones((4096, 2), jnp.bfloat16), jnp.ones((2, 3), jnp.bfloat16)
    _, found = gradients(product, x, kernel, jnp.ones((4096, 3), jnp.bfloat16))
    np.testing.assert_array_equal(np.asarray(found, np.float32), 4096)


@pytest.mark.parametrize("sizes", [(3, 5), (4, 4)])
def test_a_gradient_of_the_kernel_is_not_transposed(sizes):
    """JAX's own is, where what enters is not wider than what comes out."""
    given = draw((6, sizes[0]), sizes, (6, sizes[1]))

    def transposes(run):
        text = jax.jit(lambda *g: gradients(run, *g)[1]).lower(*given).as_text()
        return text.count("stablehlo.transpose")

    assert transposes(product) == 0
    assert transposes(jnp.matmul) == 1
