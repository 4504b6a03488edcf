"""The transformer: padding, permutation, dropout. Its blocks: test_block.py."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.nn.layers.transformer import Transformer


def tokens(length, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(2, length, 8)), jnp.float32)


def test_padding_does_not_matter():
    stack = Transformer(layers=2, heads=2)
    x = tokens(4)
    variables = jax.jit(stack.init)(jax.random.key(0), x)
    padded = jnp.concatenate([x, tokens(3, seed=1) * 100], axis=1)
    mask = jnp.arange(7)[None] < jnp.array([[4], [4]])
    apply = jax.jit(stack.apply)
    out = apply(variables, padded, mask)[:, :4]
    np.testing.assert_allclose(out, apply(variables, x), atol=1e-5)


def test_has_no_order_of_its_own():
    stack = Transformer(layers=2, heads=2)
    x = tokens(5)
    variables = jax.jit(stack.init)(jax.random.key(0), x)
    order = jnp.array([3, 1, 4, 0, 2])
    apply = jax.jit(stack.apply)
    out = apply(variables, x[:, order])
    np.testing.assert_allclose(out, apply(variables, x)[:, order], atol=1e-5)


def test_ends_with_a_norm():
    stack = Transformer(layers=1, heads=2)
    out, _ = jax.jit(stack.init_with_output)(jax.random.key(0), tokens(5) * 50)
    np.testing.assert_allclose(out.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(-1), 1, atol=1e-3)


def test_dropout_follows_its_key():
    stack = Transformer(layers=1, heads=2, dropout=0.5)
    x = tokens(5)
    variables = jax.jit(stack.init)(jax.random.key(0), x)

    @jax.jit
    def train(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return stack.apply(variables, x, deterministic=False, rngs=rngs)

    np.testing.assert_array_equal(train(1), train(1))
    assert not np.allclose(train(1), train(2))
    assert not np.allclose(train(1), jax.jit(stack.apply)(variables, x))
