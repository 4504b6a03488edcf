"""The branch of attention that an NVIDIA GPU takes: chosen, lowered, and correct around the kernel.

There is no GPU in the tests: the kernel is the one thing that they do not run.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.nn import kernels
from mmjax.nn.layers import attention as module
from mmjax.nn.layers.attention import attention

fused = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")

MASK = jnp.asarray([[1, 1, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]], bool)


def example(dtype=jnp.bfloat16, queries=6, keys=6, size=8):
    random = np.random.default_rng(0)
    return tuple(
        jnp.asarray(random.normal(size=(3, 2, length, size)), dtype)
        for length in (queries, keys, keys)
    )


@pytest.fixture
def on_gpu(monkeypatch):
    monkeypatch.setattr(module, "_has_cuda", lambda: True)
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91_000)
    monkeypatch.setattr(fused, "check_compute_capability", lambda _: True)


@pytest.fixture
def calls(monkeypatch):
    """A GPU's form, in which XLA's own kernel stands in for cuDNN's; the options of each call."""
    monkeypatch.setattr(module, "_has_cuda", lambda: True)
    kernel, found = jax.nn.dot_product_attention, []

    def stand_in(*qkv, implementation, **options):
        found.append((implementation, options))
        return kernel(*qkv, implementation="xla", **options)

    def cuda(*args, default, **forms):
        return forms.get("cuda", default)(*args)

    monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
    monkeypatch.setattr(jax.lax, "platform_dependent", cuda)
    return found


def kernels_of(lowered):
    return set(re.findall(r"__cudnn\$\w+", lowered.as_text()))


@pytest.mark.usefixtures("on_gpu")
@pytest.mark.parametrize("lengths", [(6, 6), (5, 6), (6, 5), (5, 5)])
@pytest.mark.parametrize("kind", ["plain", "mask", "causal", "bias"])
def test_lowers_to_the_kernel_of_cudnn(kind, lengths):
    """With its backward pass, which takes no odd lengths by itself."""
    mask = MASK[:, : lengths[1]] if kind == "mask" else None
    bias = jnp.ones((1, 2, *lengths)) if kind == "bias" else None

    def loss(*qkv):
        y = attention(*qkv, mask, causal=kind == "causal", bias=bias)
        return (y**2).sum().astype(jnp.float32)

    traced = jax.jit(jax.grad(loss, (0, 1, 2))).trace(*example(jnp.bfloat16, *lengths))
    found = kernels_of(traced.lower(lowering_platforms=("cuda",)))
    plain = kind == "plain" and lengths == (6, 6)
    name = "__cudnn$fmhaSoftmax" if plain else "__cudnn$fmhaScaleBiasSoftmax"
    assert found == {name, f"{name}Backward"}
    # The same process makes programs for its CPU.
    assert not kernels_of(traced.lower(lowering_platforms=("cpu",)))


@pytest.mark.usefixtures("on_gpu")
def test_the_switch_turns_it_off():
    with kernels.use(False):
        traced = jax.jit(lambda *qkv: attention(*qkv, MASK)).trace(*example())
    assert not kernels_of(traced.lower(lowering_platforms=("cuda",)))


def test_what_the_kernel_cannot_do_does_not_take_it(calls):
    q, k, v = example()
    attention(*example(jnp.float32), MASK)
    attention(q, k, v, MASK, lambda weights: weights)
    attention(*example(size=12), MASK)
    attention(*example(size=136), MASK)
    assert calls == []
    attention(q, k, v, MASK)
    assert [implementation for implementation, _ in calls] == ["cudnn"]


def test_without_a_gpu_programs_for_one_have_none():
    traced = jax.jit(lambda *qkv: attention(*qkv, MASK)).trace(*example())
    assert not kernels_of(traced.lower(lowering_platforms=("cuda",)))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("lengths", [(6, 6), (5, 6), (5, 5)])
def test_gives_what_the_other_branch_gives(calls, lengths, masked, causal, biased):
    q, k, v = example(jnp.bfloat16, *lengths)
    mask = MASK[:, : lengths[1]] if masked else None
    bias = jnp.asarray(np.random.default_rng(1).normal(size=(1, 2, *lengths)), jnp.float32)
    options = {"causal": causal, "bias": bias if biased else None}
    found = attention(q, k, v, mask, **options)
    assert len(calls) == 1
    assert found.dtype == jnp.bfloat16
    exact = attention(*(x.astype(jnp.float32) for x in (q, k, v)), mask, **options)
    assert len(calls) == 1
    np.testing.assert_allclose(found.astype(jnp.float32), exact, atol=0.03)


def test_masked_content_is_nothing(calls):
    q, k, v = example()
    masked = ~MASK[:, None, :, None]

    def step(q, k, v):
        def loss(*qkv):
            y = attention(*qkv, MASK)
            return (y.astype(jnp.float32) ** 2).sum(), y

        return jax.grad(loss, (0, 1, 2), has_aux=True)(q, k, v)

    clean = step(q, k, v)
    dirty = step(q, jnp.where(masked, 1e6, k), jnp.where(masked, -3e7, v))
    assert [implementation for implementation, _ in calls] == ["cudnn"] * 2
    (at_q, at_k, at_v), y = clean
    jax.tree.map(np.testing.assert_array_equal, dirty, clean)
    np.testing.assert_array_equal(y[1], 0)
    np.testing.assert_array_equal(at_q[1], 0)
    for gradient in (at_k, at_v):
        np.testing.assert_array_equal(np.where(masked, gradient, 0), 0)
        assert np.abs(np.where(masked, 1, gradient)).min() > 0
