"""Words, patches and positions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn.layers.embedding import (
    GridPositions,
    LearnedPositions,
    PatchEmbedding,
    WordEmbedding,
    resize_positions,
    sincos_positions,
)


def test_words_are_rows_of_the_table():
    ids, mask = jnp.array([[3, 1, 9], [0, 2, 2]]), jnp.array([[1, 1, 0], [1, 1, 1]], bool)
    module = WordEmbedding(vocabulary_size=4, width=2)
    variables = module.init(jax.random.key(0), ids, mask)
    table = np.asarray(variables["params"]["embedding"])
    out = module.apply(variables, ids, mask)
    np.testing.assert_array_equal(out[0, :2], table[[3, 1]])
    np.testing.assert_array_equal(out[0, 2], 0)
    np.testing.assert_array_equal(out[1], table[[0, 2, 2]])


@pytest.mark.parametrize("wrong", [4, -1])
def test_real_word_outside_the_vocabulary_is_noticed(wrong):
    ids, mask = jnp.array([[wrong]]), jnp.ones((1, 1), bool)
    module = WordEmbedding(vocabulary_size=4, width=2)
    variables = jax.jit(module.init)(jax.random.key(0), ids, mask)
    assert np.isnan(jax.jit(module.apply)(variables, ids, mask)).all()
    with pytest.raises(UserError, match=f"text: {wrong} at .0, 0., but there are 0 to 3"):
        module.apply(variables, ids, mask)
    np.testing.assert_array_equal(module.apply(variables, ids, ~mask), 0)


def test_patches_equal_a_strided_convolution():
    image = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 12, 3)), jnp.float32)
    module = PatchEmbedding(width=5, patch_size=4)
    variables = module.init(jax.random.key(0), image)
    kernel = variables["params"]["projection"]["kernel"].reshape(4, 4, 3, 5)
    convolution = nn.Conv(5, (4, 4), (4, 4), padding="VALID", use_bias=False)
    expected = convolution.apply({"params": {"kernel": kernel}}, image)
    np.testing.assert_allclose(module.apply(variables, image), expected, atol=1e-5)


@pytest.mark.parametrize("side", [0, 5])
def test_patches_must_fit(side):
    with pytest.raises(UserError, match="8x12 does not split"):
        PatchEmbedding(width=5, patch_size=side).init(jax.random.key(0), jnp.zeros((1, 8, 12, 3)))


def test_positions_of_a_shorter_sequence_are_the_first_ones():
    module = LearnedPositions()
    variables = module.init(jax.random.key(0), jnp.zeros((1, 5, 2)))
    table = np.asarray(variables["params"]["embedding"])
    assert table.shape == (5, 2)
    np.testing.assert_array_equal(module.apply(variables, jnp.zeros((2, 3, 2)))[1], table[:3])
    with pytest.raises(UserError, match="sequence of 6 tokens, but the model was made for 5"):
        module.apply(variables, jnp.zeros((1, 6, 2)))


def test_grid_positions_are_resized_to_another_grid():
    module = GridPositions()
    variables = module.init(jax.random.key(0), jnp.zeros((1, 2, 3, 4)))
    table = variables["params"]["embedding"]
    assert table.shape == (2, 3, 4)
    np.testing.assert_array_equal(module.apply(variables, jnp.ones((1, 2, 3, 4)))[0], 1 + table)
    out, after = module.apply(variables, jnp.ones((2, 5, 3, 4)), mutable=["params"])
    np.testing.assert_allclose(out[1], 1 + resize_positions(table, 5, 3), atol=1e-6)
    np.testing.assert_array_equal(after["params"]["embedding"], table)


def cubic(values, at):
    """Values on 0, 1, ..., read at a real place: four neighbours, the border goes on."""
    total, first = 0.0, int(np.floor(at)) - 1
    for place in range(first, first + 4):
        t, a = abs(at - place), -0.75
        near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4)
        total = total + (near if t <= 1 else far) * values[min(max(place, 0), len(values) - 1)]
    return total


@pytest.mark.parametrize(("rows", "columns"), [(7, 3), (2, 5), (1, 8)])
def test_resized_positions_are_read_at_the_centres_of_cells(rows, columns):
    table = np.random.default_rng(0).normal(size=(4, 5, 2))
    out = resize_positions(jnp.asarray(table, jnp.float32), rows, columns)
    for y, x in np.ndindex(rows, columns):
        row = cubic(table, (y + 0.5) * 4 / rows - 0.5)
        expected = cubic(row, (x + 0.5) * 5 / columns - 0.5)
        np.testing.assert_allclose(out[y, x], expected, atol=1e-5)


def test_sincos_positions_equal_the_formula():
    out = sincos_positions(2, 3, 8)
    for y, x, i in np.ndindex(2, 3, 2):
        f = 10_000 ** (-4 * i / 8)
        expected = [np.sin(x * f), np.cos(x * f), np.sin(y * f), np.cos(y * f)]
        np.testing.assert_allclose(out[y, x, i::2], expected, atol=1e-6)
    with pytest.raises(UserError, match="width 6 is not divisible by 4"):
        sincos_positions(2, 3, 6)
