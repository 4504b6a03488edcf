"""Attention against a loop over heads and queries; masked keys weigh exactly nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.nn.attention import SelfAttention, attention
from mmjax.types import UserError


def loop_attention(q, k, v, mask):
    """One softmax at a time, over the real keys only, in float64."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    batch, heads, queries, width = q.shape
    out = np.zeros((batch, heads, queries, v.shape[-1]))
    for b in range(batch):
        keys = np.flatnonzero(mask[b])
        for h in range(heads):
            for i in range(queries):
                scores = np.array([q[b, h, i] @ k[b, h, j] for j in keys]) / np.sqrt(width)
                weights = np.exp(scores - scores.max()) if len(keys) else scores
                for j, weight in zip(keys, weights / weights.sum(), strict=True):
                    out[b, h, i] += weight * v[b, h, j]
    return out


def example():
    random = np.random.default_rng(0)
    q, k, v = (jnp.asarray(random.normal(size=(3, 2, 5, 4)), jnp.float32) for _ in range(3))
    mask = np.array([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    return q, k, v, jnp.asarray(mask)


def test_equals_the_loop():
    q, k, v, mask = example()
    np.testing.assert_allclose(attention(q, k, v, mask), loop_attention(q, k, v, mask), atol=1e-6)


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
