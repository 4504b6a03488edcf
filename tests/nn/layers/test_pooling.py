"""Means against plain loops, and their masked and degenerate rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn import kernels
from mmjax.nn.layers.pooling import masked_mean, masked_sum, window_mean


def example():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 2)), jnp.float32)
    mask = jnp.asarray([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
    return x, mask


def test_masked_mean_equals_numpy():
    x, mask = example()
    out = masked_mean(x, mask)
    np.testing.assert_allclose(out[0], np.asarray(x)[0, [0, 2]].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(out[1], 0)
    np.testing.assert_allclose(out[2], np.asarray(x)[2].mean(0), rtol=1e-6)


def test_masked_mean_never_reads_masked_content():
    x, mask = example()
    dirty = jnp.where(mask[..., None], x, jnp.nan)
    np.testing.assert_array_equal(masked_mean(dirty, mask), masked_mean(x, mask))
    gradient = jax.grad(lambda x: (masked_mean(x, mask) ** 2).sum())(dirty)
    np.testing.assert_array_equal(np.asarray(gradient)[~np.asarray(mask)], 0)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_masked_sum_and_its_gradient_are_the_same_on_accelerators(dtype):
    x, mask = example()
    dirty = jnp.where(mask[..., None], x, jnp.nan).astype(dtype)

    def run(total):
        loss = lambda x: (total(x, mask) ** 3).sum()  # noqa: E731
        return total(dirty, mask), jax.jit(jax.grad(loss))(dirty)

    own = run(masked_sum)
    with kernels.use(False):
        other = run(masked_sum)
    assert own[0].dtype == jnp.float32
    assert own[1].dtype == dtype
    for a, b in zip(own, other, strict=True):
        np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), rtol=1e-5)
    jax.vmap(masked_sum)(dirty[None], mask[None])


def test_masked_mean_sums_in_float32():
    x = jnp.ones((1, 1000, 1), jnp.bfloat16)
    out = masked_mean(x, jnp.ones((1, 1000), bool))
    assert out.dtype == jnp.bfloat16
    assert out[0, 0] == 1


def test_window_mean_equals_loops():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype(np.float32)
    out = window_mean(jnp.asarray(x), 2)
    assert out.shape == (2, 2, 3, 3)
    for row in range(2):
        for column in range(3):
            window = x[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            np.testing.assert_allclose(out[:, row, column], window.mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize("side", [0, 4])
def test_window_mean_needs_whole_windows(side):
    with pytest.raises(UserError, match="grid of 4x6"):
        window_mean(jnp.zeros((1, 4, 6, 1)), side)
