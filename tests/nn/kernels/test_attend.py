"""Attention of long sequences: one head after the other, with a derivative of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mmjax.nn import kernels
from mmjax.nn.layers import attention as module
from mmjax.nn.layers.attention import attention
from tests.nn.attention_cases import example


@pytest.fixture
def long(monkeypatch):
    """Every sequence counts as long."""
    monkeypatch.setattr(module, "LONG", 1)


def parts(q, k, v, mask, causal, bias):
    def loss(q, k, v, bias):
        return (attention(q, k, v, mask, causal=causal, bias=bias) ** 3).sum()

    value = jax.jit(lambda *x: attention(*x[:3], mask, causal=causal, bias=x[3]))(q, k, v, bias)
    learned = (0, 1, 2) if bias is None else (0, 1, 2, 3)
    return value, *jax.jit(jax.grad(loss, learned))(q, k, v, bias)


@pytest.mark.parametrize("longest", [1, 1000])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_a_plain_softmax(monkeypatch, longest, causal, rows, masked):
    monkeypatch.setattr(module, "LONG", longest)
    q, k, v, mask = example()
    mask = mask if masked else jnp.ones_like(mask)
    allowed = mask[:, None, None] & ((jnp.tri(5) > 0) | (not causal))
    bias = jax.random.normal(jax.random.PRNGKey(2), (rows, 2, 5, 5)) if rows else None

    def plain(q, k, v, bias):
        scores = q @ jnp.swapaxes(k, 2, 3) / q.shape[-1] ** 0.5 + (0 if bias is None else bias)
        weights = jax.nn.softmax(jnp.where(allowed, scores, -1e30)) * allowed.any(-1)[..., None]
        return jnp.sum((weights @ v) ** 3)

    learned = (0, 1, 2) if bias is None else (0, 1, 2, 3)
    expected = jax.jit(jax.grad(plain, learned))(q, k, v, bias)
    found = parts(q, k, v, mask if masked else None, causal, bias)[1:]
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_one_head_after_the_other_gives_what_all_at_once_do(request, causal, rows):
    q, k, v, mask = example()
    bias = jax.random.normal(jax.random.PRNGKey(2), (rows, 2, 5, 5)) if rows else None
    expected = parts(q, k, v, mask, causal, bias)
    request.getfixturevalue("long")
    assert "stablehlo.while" in jax.jit(attention).lower(q, k, v).as_text()
    with kernels.use(False):
        plain = parts(q, k, v, mask, causal, bias)
    for found, *same in zip(parts(q, k, v, mask, causal, bias), expected, plain, strict=True):
        for wanted in same:
            # Some numbers are small sums of great ones, whose rounding differs.
            greatest = max(1.0, float(np.abs(wanted).max()))
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6 * greatest)


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("backward", [False, True])
def test_devices_that_share_the_rows_exchange_nothing(backward):
    def function(q, mask):
        if backward:
            return jax.grad(lambda q: jnp.sum(attention(q, q, q, mask) ** 3))(q)
        return attention(q, q, q, mask)

    mesh = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,))
    q = jax.random.normal(jax.random.PRNGKey(0), (16, 2, 5, 4))
    mask = jnp.arange(5) < jnp.arange(16)[:, None]
    expected = function(q, mask)
    q, mask = jax.device_put((q, mask), NamedSharding(mesh, PartitionSpec("rows")))
    with jax.set_mesh(mesh):
        program = jax.jit(function).lower(q, mask).compile()
    assert "while" in program.as_text()
    for exchange in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert exchange not in program.as_text()
    np.testing.assert_allclose(program(q, mask), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("fast", [True, False])
def test_long_sequences_keep_no_scores_for_the_backward_pass(fast):
    q, k, v, mask = example()
    with kernels.use(fast):
        _, backward = jax.vjp(lambda *x: attention(*x, mask), q, k, v)
    assert all(jnp.shape(kept)[-2:] != (5, 5) for kept in jax.tree.leaves(backward))


@pytest.mark.usefixtures("long")
def test_long_sequences_have_second_derivatives(monkeypatch):
    q, k, v, mask = example()

    def second(q):
        slope = jax.grad(lambda q: jnp.sum(attention(q, k, v * q, mask) ** 3))
        return jax.grad(lambda q: jnp.sum(slope(q) ** 2))(q)

    found = second(q)
    monkeypatch.setattr(module, "LONG", 1000)
    np.testing.assert_allclose(found, second(q), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("long")
def test_long_sequences_in_bfloat16_keep_their_type_and_are_near():
    q, k, v, mask = example()
    exact = parts(q, k, v, mask, causal=False, bias=None)
    found = parts(*(x.astype(jnp.bfloat16) for x in (q, k, v)), mask, causal=False, bias=None)
    for near, wanted in zip(found, exact, strict=True):
        assert near.dtype == jnp.bfloat16
        np.testing.assert_allclose(
            near.astype(jnp.float32), wanted, atol=0.03 * np.abs(wanted).max()
        )


@pytest.mark.usefixtures("long")
def test_no_long_sequences_have_a_gradient_of_nothing():
    q = jnp.zeros((0, 2, 5, 4))
    assert jax.grad(lambda q: jnp.sum(attention(q, q, q)))(q).shape == q.shape


@pytest.mark.usefixtures("long")
def test_long_sequences_are_one_product_with_dropout_or_on_an_accelerator():
    q, k, v, _ = example()
    dropped = jax.jit(lambda *x: attention(*x, drop=lambda w: w)).lower(q, k, v).as_text()
    gpu = jax.jit(attention).trace(q, k, v).lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.while" not in dropped
    assert "stablehlo.while" not in gpu
