"""Rotary positions against rotations of complex numbers, one pair of features at a time."""

import cmath

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.nn.layers.attention import SelfAttention
from mmjax.nn.layers.rotary import grid_angles, line_angles, rotate


def heads(length, size=8, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(2, 3, length, size)), jnp.float32)


def complex_oracle(x, places):
    """places: for each token, the position that each pair turns by and the pair's frequency."""
    x = np.asarray(x, np.float64)
    out, half = np.zeros_like(x), x.shape[-1] // 2
    for batch, head, token, pair in np.ndindex(*x.shape[:3], half):
        position, frequency = places(token, pair)
        first, second = x[batch, head, token, pair], x[batch, head, token, pair + half]
        turned = complex(first, second) * cmath.exp(1j * position * frequency)
        out[batch, head, token, pair], out[batch, head, token, pair + half] = (
            turned.real,
            turned.imag,
        )
    return out


@pytest.mark.parametrize("base", [10_000.0, 100.0])
def test_line_turns_each_pair_by_its_frequency(base):
    x = heads(11)
    expected = complex_oracle(x, lambda token, pair: (token, base ** (-2 * pair / 8)))
    np.testing.assert_allclose(rotate(x, line_angles(11, 8, base)), expected, atol=1e-5)


def test_grid_turns_half_of_the_pairs_by_row_and_half_by_column():
    rows, columns = 3, 5

    def places(token, pair):
        row, column = divmod(token, columns)
        return (row if pair < 2 else column), 10_000 ** (-2 * (pair % 2) / 4)

    x = heads(rows * columns)
    out = rotate(x, grid_angles(rows, columns, 8))
    np.testing.assert_allclose(out, complex_oracle(x, places), atol=1e-5)


def test_lengths_do_not_change():
    x = heads(50)
    out = rotate(x, line_angles(50, 8))
    np.testing.assert_allclose(np.linalg.norm(out, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5)


@pytest.mark.parametrize(
    ("angles", "step"), [(line_angles(24, 8), 7), (grid_angles(4, 6, 8), 6 + 1)]
)
def test_products_depend_on_the_distance_alone(angles, step):
    """The same query and key, moved along by `step` places (a line; a row and a column)."""
    q = jnp.broadcast_to(heads(1), (2, 3, 24, 8))
    k = jnp.broadcast_to(heads(1, seed=1), (2, 3, 24, 8))
    scores = jnp.einsum("bhqk,bhnk->bhqn", rotate(q, angles), rotate(k, angles))
    np.testing.assert_allclose(scores[:, :, 0, 3], scores[:, :, step, step + 3], atol=1e-5)
    assert np.abs(scores[:, :, 0, 3] - scores[:, :, 0, 4]).max() > 1e-2


def test_half_precision_turns_in_float32():
    x, angles = heads(300).astype(jnp.bfloat16), line_angles(300, 8)
    out = rotate(x, angles)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(out, rotate(x.astype(jnp.float32), angles).astype(jnp.bfloat16))


def test_attention_turns_queries_and_keys_but_no_values():
    module, angles = SelfAttention(heads=2), line_angles(5, 4)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 8)), jnp.float32)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    params = jax.tree.map(np.asarray, variables["params"])
    qkv = np.asarray(x[0] @ params["qkv"]["kernel"] + params["qkv"]["bias"])
    outs = []
    for head in range(2):
        q, k, v = (part[:, head * 4 : head * 4 + 4] for part in np.split(qkv, 3, axis=1))
        q, k = (complex_oracle(p[None, None], lambda t, i: (t, 100.0**-i))[0, 0] for p in (q, k))
        weights = np.exp(q @ k.T / 2)
        outs.append(weights / weights.sum(1, keepdims=True) @ v)
    expected = np.concatenate(outs, 1) @ params["out"]["kernel"] + params["out"]["bias"]
    out = jax.jit(module.apply)(variables, x, angles=angles)
    np.testing.assert_allclose(out[0], expected, atol=1e-5)
