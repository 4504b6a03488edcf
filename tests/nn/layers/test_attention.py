"""Attention against a loop over heads and queries; masked keys weigh exactly nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn.layers.attention import (
    CrossAttention,
    SelfAttention,
    allowed_keys,
    attention,
    merge_heads,
    split_heads,
    split_projections,
)
from tests.nn.attention_cases import example, loop_attention


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_equals_the_loop(causal, rows):
    """With no bias, one bias for all examples, one for each."""
    q, k, v, mask = example()
    bias = np.random.default_rng(2).normal(size=(rows, 2, 5, 5)).astype(np.float32)
    bias = jnp.asarray(bias) if rows else None
    found = attention(q, k, v, mask, causal=causal, bias=bias)
    np.testing.assert_allclose(found, loop_attention(q, k, v, mask, causal, bias), atol=1e-6)


def test_allowed_keys_are_the_real_ones_so_far():
    mask = jnp.asarray([[True, True, False]])
    expected = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 0]], bool)
    np.testing.assert_array_equal(allowed_keys(mask, 3, 3, causal=True)[0, 0], expected)
    np.testing.assert_array_equal(allowed_keys(None, 3, 3, causal=True)[0, 0], np.tri(3) > 0)
    np.testing.assert_array_equal(allowed_keys(mask, 3, 3, causal=False)[0, 0], mask)
    assert allowed_keys(None, 3, 3, causal=False) is None


def test_causal_queries_have_exactly_no_gradient_at_later_keys():
    q, k, v, _ = example()
    for content in ("k", "v"):

        def read(x, content=content):
            return attention(q, **({"k": k, "v": v} | {content: x}), causal=True)[0, 0]

        jacobian = jax.jit(jax.jacrev(read))(k if content == "k" else v)
        size = np.abs(jacobian[:, :, 0, 0]).max(axis=(1, 3))
        later = np.arange(5) > np.arange(5)[:, None]
        np.testing.assert_array_equal(size[later], 0)
        # The first query reads one key only, whose weight is 1 whatever its content.
        assert size[~later][content == "k" :].min() > 0


def test_causal_query_before_the_first_real_key_is_exactly_zero():
    q, k, v, _ = example()
    mask = jnp.asarray([[0, 0, 1, 0, 1]] * 3, bool)
    out = attention(q, k, v, mask, causal=True)
    np.testing.assert_array_equal(out[:, :, :2], 0)
    assert np.abs(out[:, :, 2:]).min() > 0
    loss = jax.grad(lambda *qkv: (attention(*qkv, mask, causal=True) ** 3).sum(), (0, 1, 2))
    gradients = loss(q, k, v)
    assert all(np.isfinite(g).all() for g in gradients)
    np.testing.assert_array_equal(gradients[0][:, :, :2], 0)


def test_no_mask_is_all_real():
    q, k, v, mask = example()
    everything = jnp.ones_like(mask)
    np.testing.assert_array_equal(attention(q, k, v), attention(q, k, v, everything))


def test_row_without_a_real_key_is_exactly_zero():
    q, k, v, mask = example()
    np.testing.assert_array_equal(attention(q, k, v, mask)[1], 0)


def test_large_scores_do_not_overflow():
    q, k, v, mask = example()
    out = attention(q * 1e4, k * 1e4, v, mask)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= np.abs(v).max()


def test_masked_content_changes_no_bit_and_has_no_gradient():
    q, k, v, mask = example()
    masked = ~mask[:, None, :, None]
    other = attention(q, jnp.where(masked, 1e6, k), jnp.where(masked, -3e7, v), mask)
    np.testing.assert_array_equal(other, attention(q, k, v, mask))
    gradients = jax.grad(lambda *qkv: (attention(*qkv, mask) ** 3).sum(), (0, 1, 2))(q, k, v)
    for gradient in gradients[1:]:
        np.testing.assert_array_equal(np.where(masked, gradient, 0), 0)
        assert np.abs(gradient).max() > 0
    assert all(np.isfinite(g).all() for g in gradients)


def test_bfloat16_keeps_its_type_and_is_near():
    q, k, v, mask = example()
    half = attention(*(x.astype(jnp.bfloat16) for x in (q, k, v)), mask)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), attention(q, k, v, mask), atol=0.03)


def test_module_equals_projections_around_the_loop():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 8)), jnp.float32)
    mask = jnp.asarray([[True, True, False], [True, True, True]])
    module = SelfAttention(heads=2)
    variables = jax.jit(module.init)(jax.random.key(0), x, mask)
    params = jax.tree.map(np.asarray, variables["params"])
    qkv = x @ params["qkv"]["kernel"] + params["qkv"]["bias"]
    q, k, v = (np.moveaxis(p.reshape(2, 3, 2, 4), 2, 1) for p in np.split(qkv, 3, axis=-1))
    heads = loop_attention(q, k, v, np.asarray(mask))
    out = np.moveaxis(heads, 1, 2).reshape(2, 3, 8) @ params["out"]["kernel"]
    expected = out + params["out"]["bias"]
    np.testing.assert_allclose(jax.jit(module.apply)(variables, x, mask), expected, atol=1e-5)


def test_cross_attention_equals_projections_around_the_loop():
    random = np.random.default_rng(1)
    x = jnp.asarray(random.normal(size=(3, 4, 8)), jnp.float32)
    context = jnp.asarray(random.normal(size=(3, 5, 6)), jnp.float32)
    mask = example()[3]
    module = CrossAttention(heads=2)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x, context)
    variables = jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape), p.dtype), shapes)
    params = jax.tree.map(np.asarray, variables["params"])
    q = x @ params["q"]["kernel"] + params["q"]["bias"]
    kv = context @ params["kv"]["kernel"] + params["kv"]["bias"]
    parts = (q, *np.split(kv, 2, axis=-1))
    parts = (np.moveaxis(p.reshape(3, -1, 2, 4), 2, 1) for p in parts)
    heads = np.moveaxis(loop_attention(*parts, np.asarray(mask)), 1, 2).reshape(3, 4, 8)
    expected = heads @ params["out"]["kernel"] + params["out"]["bias"]
    found = jax.jit(module.apply)(variables, x, context, mask)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found[1], np.tile(params["out"]["bias"], (4, 1)), atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_projections_split_into_parts_then_heads(count):
    x = jnp.arange(2 * 3 * count * 8, dtype=jnp.float32).reshape(2, 3, count * 8)
    parts = split_projections(x, count, heads=4)
    assert [part.shape for part in parts] == [(2, 4, 3, 2)] * count
    for part, plain in zip(parts, jnp.split(x, count, axis=-1), strict=True):
        np.testing.assert_array_equal(part, split_heads(plain, 4))
        np.testing.assert_array_equal(merge_heads(part), plain)


def test_the_gradient_of_split_projections_puts_parts_together_without_sums():
    def gradient(x, d_parts):
        return jax.vjp(lambda x: split_projections(x, 3, heads=4), x)[1](d_parts)[0]

    x = jnp.arange(2 * 5 * 24, dtype=jnp.float32).reshape(2, 5, 24)
    parts = split_projections(x, 3, heads=4)
    np.testing.assert_array_equal(gradient(x, parts), x)
    text = jax.jit(gradient).lower(x, parts).as_text()
    assert "concatenate" in text
    assert "pad" not in text


def test_dropout_drops_only_in_training():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 8)), jnp.float32)
    module = SelfAttention(heads=2, dropout=0.5)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    rngs = {"dropout": jax.random.key(1)}
    trained = module.apply(variables, x, deterministic=False, rngs=rngs)
    assert not np.allclose(trained, module.apply(variables, x))


def test_heads_must_divide_width():
    with pytest.raises(UserError, match="width 8 does not split into 3 heads"):
        SelfAttention(heads=3).init(jax.random.key(0), jnp.zeros((1, 2, 8)))
