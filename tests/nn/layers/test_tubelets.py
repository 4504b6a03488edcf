"""Tubelets against loops over blocks, their positions, and the masks of pretraining."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn.layers.embedding import resize_positions
from mmjax.nn.layers.tubelets import (
    TubeletPositions,
    fold_tubelets,
    random_tube_mask,
    real_tubelets,
)


def test_fold_tubelets_equals_loops():
    video = np.random.default_rng(0).normal(size=(2, 4, 6, 9, 3)).astype(np.float32)
    out = fold_tubelets(jnp.asarray(video), 2, 3)
    assert out.shape == (2, 2, 2, 3, 54)
    for t, y, x in np.ndindex(2, 2, 3):
        block = video[:, 2 * t : 2 * t + 2, 3 * y : 3 * y + 3, 3 * x : 3 * x + 3]
        np.testing.assert_array_equal(out[:, t, y, x], block.reshape(2, -1))


@pytest.mark.parametrize(
    ("frames", "side", "message"),
    [
        (3, 3, "4 frames do not split into tubelets of 3"),
        (0, 3, "4 frames do not split into tubelets of 0"),
        (2, 4, "6x9 does not split into patches of 4x4"),
    ],
)
def test_tubelets_must_fit(frames, side, message):
    with pytest.raises(UserError, match=message):
        fold_tubelets(jnp.zeros((1, 4, 6, 9, 3)), frames, side)


def test_a_tubelet_is_real_if_any_of_its_frames_is():
    mask = jnp.asarray([[1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]], bool)
    np.testing.assert_array_equal(real_tubelets(mask, 2), [[1, 0], [0, 1], [1, 1]])


def test_positions_for_a_shorter_clip_and_for_other_frames():
    layer = TubeletPositions()
    x = jnp.zeros((1, 3, 2, 2, 4))
    table = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 2, 4)), jnp.float32)
    variables = {"params": {"embedding": table}}
    made = jax.eval_shape(layer.init, jax.random.key(0), x)
    assert made["params"]["embedding"].shape == table.shape
    np.testing.assert_array_equal(layer.apply(variables, x[:, :2])[0], table[:2])
    larger = layer.apply(variables, jnp.zeros((1, 2, 4, 3, 4)))
    np.testing.assert_allclose(larger[0, 1], resize_positions(table[1], 4, 3), atol=1e-6)
    with pytest.raises(UserError, match="a clip of 4 tubelets in time, but .* made for 3"):
        layer.apply(variables, jnp.zeros((1, 4, 2, 2, 4)))


def test_tube_mask_hides_the_same_cells_at_every_time():
    visible = np.asarray(random_tube_mask(jax.random.key(0), 300, (3, 2, 5), 0.7))
    assert visible.shape == (300, 30)
    tubes = visible.reshape(300, 3, 10)
    assert (tubes == tubes[:, :1]).all()
    np.testing.assert_array_equal(tubes.sum(2), 3)
    # Every cell is as likely to be visible as any other: 0.3, with a deviation of 0.026.
    assert np.abs(tubes[:, 0].mean(0) - 0.3).max() < 0.11
    assert len(np.unique(tubes[:, 0], axis=0)) > 50


@pytest.mark.parametrize(("ratio", "count"), [(0.0, 4), (0.5, 2), (0.9, 0), (1.0, 0)])
def test_tube_mask_hides_the_rounded_share(ratio, count):
    visible = random_tube_mask(jax.random.key(0), 2, (1, 2, 2), ratio)
    np.testing.assert_array_equal(visible.sum(1), count)


def test_tube_mask_needs_a_share():
    with pytest.raises(UserError, match="a share of 90.0 of the tubelets"):
        random_tube_mask(jax.random.key(0), 2, (1, 2, 2), 90.0)
