"""The transformer: padding, permutation, dropout. Its blocks: test_block.py."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def test_hidden_states_are_what_each_block_gets_and_gives():
    x, mask = tokens(5), jnp.arange(5)[None] < jnp.array([[5], [3]])
    stack = Transformer(layers=2, heads=2)
    params = jax.jit(stack.init)(jax.random.key(0), x)["params"]

    def run(layers, given, **options):
        part = Transformer(layers, 2, **options)
        return jax.jit(partial(part.apply, method="with_states"))({"params": params}, given, mask)

    out, states = run(2, x)
    np.testing.assert_array_equal(out, jax.jit(stack.apply)({"params": params}, x, mask))
    np.testing.assert_array_equal(states[0], x)
    np.testing.assert_allclose(run(1, x, final_norm=False)[0], states[1], atol=1e-6)
    np.testing.assert_array_equal(run(2, x, final_norm=False)[0], states[2])
    np.testing.assert_allclose(run(0, states[2])[0], out, atol=1e-6)


@pytest.mark.parametrize("remat", [False, True])
def test_scanned_blocks_are_the_same_blocks(remat):
    x, mask = tokens(5), jnp.arange(5)[None] < jnp.array([[5], [3]])
    scanned = Transformer(layers=3, heads=2, scan=True, remat=remat)
    given = {"context": tokens(4, seed=1), "context_mask": mask[:, 1:]}
    params = jax.jit(scanned.init)(jax.random.key(0), x, mask, **given)["params"]
    blocks = {f"block_{i}": jax.tree.map(lambda p: p[i], params["block"]) for i in range(3)}  # noqa: B023

    def run(stack, params):
        def loss(params, x):
            out, states = stack.apply({"params": params}, x, mask, **given, method="with_states")
            return jnp.sum(jnp.cos(out)) + sum(jnp.sum(y * y * y) for y in states), states

        return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)

    (_, states), (d_params, d_x) = run(scanned, params)
    expected = run(Transformer(layers=3, heads=2), {**blocks, "norm": params["norm"]})
    (_, same_states), (same_params, same_x) = expected
    same_params["block"] = jax.tree.map(
        lambda *layers: jnp.stack(layers), *(same_params.pop(f"block_{i}") for i in range(3))
    )
    found = (states, d_params, d_x)
    for a, b in zip(
        *map(jax.tree.leaves, (found, (same_states, same_params, same_x))), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())
