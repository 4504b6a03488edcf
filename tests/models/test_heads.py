"""The classification head against plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.models.heads import ClassificationHead
from mmjax.types import Fused, Tokens


def fused(width=6):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, width)), jnp.float32)
    return Fused(Tokens(x[:, None], jnp.ones((3, 1), bool)), x)


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
def test_equals_dense_layers(hidden):
    head = ClassificationHead(7, hidden=hidden, activation="tanh")
    variables = jax.jit(head.init)(jax.random.key(0), fused())
    x = np.asarray(fused().pooled)
    for layer in range(len(hidden)):
        dense = variables["params"][f"hidden_{layer}"]
        x = np.tanh(x @ dense["kernel"] + dense["bias"])
    dense = variables["params"]["logits"]
    expected = x @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(jax.jit(head.apply)(variables, fused()), expected, atol=1e-6)


def test_logits_are_float32_in_bfloat16_computation():
    head = ClassificationHead(7, hidden=(5,), dtype=jnp.bfloat16)
    logits, variables = jax.eval_shape(head.init_with_output, jax.random.key(0), fused())
    assert logits.dtype == jnp.float32
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))


def test_dropout_only_in_training():
    head = ClassificationHead(7, dropout=0.5)
    variables = head.init(jax.random.key(0), fused())
    rngs = {"dropout": jax.random.key(1)}
    trained = head.apply(variables, fused(), deterministic=False, rngs=rngs)
    assert not np.allclose(trained, head.apply(variables, fused()))


def test_unknown_activation_lists_the_known():
    with pytest.raises(UserError, match="unknown activation 'swish': choose one of"):
        ClassificationHead(7, activation="swish").init(jax.random.key(0), fused())
