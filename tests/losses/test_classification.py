import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mmjax.losses.classification import cross_entropy


def naive(logits, labels, smoothing):
    losses = []
    for row, label in zip(np.asarray(logits, np.float64), labels, strict=True):
        shifted = row - row.max()
        log_p = shifted - np.log(np.exp(shifted).sum())
        q = np.full(len(row), smoothing / len(row))
        q[label] += 1 - smoothing
        losses.append(-(q * log_p).sum())
    return np.array(losses)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("rows", "classes"), [(7, 5), (1, 3), (4, 1)])
def test_equals_a_naive_loop(rows, classes, smoothing):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(rows, classes)).astype(np.float32) * 5
    labels = rng.integers(classes, size=rows)
    got = cross_entropy(jnp.array(logits), jnp.array(labels), label_smoothing=smoothing)
    np.testing.assert_allclose(got, naive(logits, labels, smoothing), rtol=1e-5, atol=1e-6)


def test_gradient_is_softmax_minus_target():
    logits = jnp.array([[1.0, -2.0, 0.5], [3.0, 3.0, 3.0]])
    labels = jnp.array([2, 0])
    got = jax.grad(lambda x: cross_entropy(x, labels, label_smoothing=0.3).sum())(logits)
    target = 0.7 * jax.nn.one_hot(labels, 3) + 0.1
    np.testing.assert_allclose(got, jax.nn.softmax(logits) - target, atol=1e-6)
    check_grads(lambda x: cross_entropy(jnp.asarray(x), labels), (logits,), order=1, modes=["rev"])


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_extreme_logits_stay_finite(scale):
    logits = jnp.eye(3) * scale
    loss, grad = jax.value_and_grad(lambda x: cross_entropy(x, jnp.array([0, 1, 1])).sum())(logits)
    assert np.isfinite(loss)
    assert np.isfinite(grad).all()


def test_bfloat16_logits_give_a_float32_loss():
    loss = cross_entropy(jnp.zeros((2, 4), jnp.bfloat16), jnp.array([0, 3]))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, np.log(4), rtol=1e-6)
