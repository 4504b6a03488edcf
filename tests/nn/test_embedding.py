"""Words, patches and positions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.nn.embedding import GridPositions, LearnedPositions, PatchEmbedding, WordEmbedding
from mmjax.types import UserError


def test_words_are_rows_of_the_table():
    ids, mask = jnp.array([[3, 1, 9], [0, 2, 2]]), jnp.array([[1, 1, 0], [1, 1, 1]], bool)
    module = WordEmbedding(vocabulary_size=4, width=2)
    variables = module.init(jax.random.key(0), ids, mask)
    table = np.asarray(variables["params"]["embedding"])
    out = module.apply(variables, ids, mask)
    np.testing.assert_array_equal(out[0, :2], table[[3, 1]])
    np.testing.assert_array_equal(out[0, 2], 0)
    np.testing.assert_array_equal(out[1], table[[0, 2, 2]])


def test_real_word_outside_the_vocabulary_is_noticed():
    ids, mask = jnp.array([[4]]), jnp.ones((1, 1), bool)
    module = WordEmbedding(vocabulary_size=4, width=2)
    out, _ = module.init_with_output(jax.random.key(0), ids, mask)
    assert np.isnan(out).all()


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


def test_grid_positions_have_one_size():
    module = GridPositions()
    variables = module.init(jax.random.key(0), jnp.zeros((1, 2, 3, 4)))
    table = variables["params"]["embedding"]
    np.testing.assert_array_equal(module.apply(variables, jnp.ones((1, 2, 3, 4)))[0], 1 + table)
    with pytest.raises(UserError, match="grid of 3x2 patches, but the model was made for 2x3"):
        module.apply(variables, jnp.zeros((1, 3, 2, 4)))
