import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.train import augment

KEY = jax.random.PRNGKey(0)
IMAGES = jnp.array(np.random.default_rng(0).integers(0, 256, (64, 6, 8, 3), np.uint8))


@pytest.mark.parametrize(("flip", "axis"), [("flip_horizontal", 1), ("flip_vertical", 0)])
def test_a_flip_mirrors_about_half_of_the_images_and_leaves_the_rest(flip, axis):
    got = np.asarray(getattr(augment, flip)(KEY, IMAGES))
    mirrored = np.array([(g == np.flip(x, axis)).all() for g, x in zip(got, IMAGES, strict=True)])
    same = np.array([(g == x).all() for g, x in zip(got, IMAGES, strict=True)])
    assert (mirrored ^ same).all()
    assert 16 < mirrored.sum() < 48


def test_a_shift_is_a_crop_of_the_edge_padded_image():
    got = np.asarray(augment.shift(KEY, IMAGES, pixels=2))
    seen = set()
    for one, image in zip(got, np.asarray(IMAGES), strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
        offsets = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if (padded[y : y + 6, x : x + 8] == one).all()
        ]
        assert len(offsets) == 1
        seen.update(offsets)
    assert len(seen) > 15


def test_a_shift_by_nothing_changes_nothing():
    assert (augment.shift(KEY, IMAGES, pixels=0) == IMAGES).all()


def test_each_modality_gets_its_functions_and_the_rest_of_the_batch_is_untouched():
    functions = {"image": (functools.partial(augment.shift, pixels=1), augment.flip_vertical)}
    batch = {"image": IMAGES, "label": jnp.arange(64)}
    got = jax.jit(augment.make_augment(functions))(KEY, batch)
    assert got["image"].shape == IMAGES.shape
    assert got["image"].dtype == jnp.uint8
    assert not (got["image"] == IMAGES).all()
    assert (got["label"] == batch["label"]).all()
    assert (batch["image"] == IMAGES).all()
