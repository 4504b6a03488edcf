"""The LSTM against a loop over the real words only."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.nn.recurrent import Lstm


def logistic(x):
    return 1 / (1 + np.exp(-x))


def loop_lstm(x, params):
    """Hidden state after each step of one sequence without masks, in float64."""
    width = params["recurrent"].shape[0]
    hidden, cell, out = np.zeros(width), np.zeros(width), []
    for step in x:
        gates = step @ params["input"]["kernel"] + params["bias"] + hidden @ params["recurrent"]
        i, f, g, o = np.split(gates, 4)
        cell = logistic(f) * cell + logistic(i) * np.tanh(g)
        hidden = logistic(o) * np.tanh(cell)
        out.append(hidden)
    return np.array(out).reshape(-1, width)


def example():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 3)), jnp.float32)
    mask = np.array(
        [[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 1, 0]], bool
    )
    module = Lstm(5)
    variables = jax.jit(module.init)(jax.random.key(0), x, mask)
    return module, variables, x, jnp.asarray(mask)


def test_equals_the_loop_over_real_steps():
    module, variables, x, mask = example()
    hidden, last = jax.jit(module.apply)(variables, x, mask)
    hidden = np.asarray(hidden)
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), variables["params"])
    for row in range(len(x)):
        real = np.asarray(mask[row])
        expected = loop_lstm(np.asarray(x[row])[real], params)
        np.testing.assert_allclose(hidden[row][real], expected, atol=1e-6)
        np.testing.assert_array_equal(hidden[row][~real], 0)
        np.testing.assert_allclose(last[row], expected[-1] if real.any() else 0, atol=1e-6)


def test_masked_steps_change_no_bit_and_have_no_gradient():
    module, variables, x, mask = example()
    masked = ~mask[..., None]
    apply = jax.jit(module.apply)
    clean, dirty = (apply(variables, v, mask) for v in (x, jnp.where(masked, 1e5, x)))
    jax.tree.map(np.testing.assert_array_equal, clean, dirty)
    squares = jax.grad(lambda x: sum((y**2).sum() for y in apply(variables, x, mask)))
    gradient = np.asarray(jax.jit(squares)(x))
    np.testing.assert_array_equal(np.where(masked, gradient, 0), 0)
    assert np.abs(gradient[np.asarray(mask)]).min() > 0


def test_forget_gate_starts_open():
    _, variables, *_ = example()
    bias = variables["params"]["bias"]
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 5))


def test_bfloat16_is_near_over_a_long_sequence():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 300, 8)), jnp.float32)
    mask = jnp.ones((2, 300), bool)
    variables = jax.jit(Lstm(16).init)(jax.random.key(0), x, mask)
    _, exact = jax.jit(Lstm(16).apply)(variables, x, mask)
    _, half = jax.jit(Lstm(16, dtype=jnp.bfloat16).apply)(variables, x, mask)
    np.testing.assert_allclose(half.astype(jnp.float32), exact, atol=0.03)
