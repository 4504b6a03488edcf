"""How pixels are normalised: as the user says, else as a file says, else not at all."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from mmjax.errors import UserError
from mmjax.interop.architecture import Checkpoint, Part
from mmjax.interop.encoding.encoder import preparation

MODEL_ONLY = {"quick_gelu": True}
WHOLE = {
    "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3},
    "model_cfg": {"vision_cfg": {"image_size": 4}},
}
IMAGE_POOLING = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)), jnp.uint8)


def normalised(folder, files, **options):
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    checkpoint = Checkpoint(folder, {}, {})
    inputs, real = preparation(Part(nn.Module()), "image", checkpoint, options)(IMAGE_POOLING, None)
    assert real.tolist() == [True, True]
    return np.moveaxis(inputs["pixel_values"], 1, 3)


def by(mean, std):
    return (np.asarray(IMAGE_POOLING) / 255 - mean) / std


def test_the_user_comes_first(tmp_path):
    files = {"preprocessor_config.json": {"image_processor_type": "nobody's"}}
    found = normalised(tmp_path, files, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    np.testing.assert_allclose(found, by([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]), atol=1e-5)


def test_a_file_of_the_model_alone_says_nothing_of_pixels(tmp_path):
    files = {"open_clip_config.json": MODEL_ONLY}
    with pytest.raises(UserError, match="no file there says how pixels are normalised"):
        normalised(tmp_path, files)
    found = normalised(tmp_path, files, mean=(0.5,) * 3, std=(0.5,) * 3)
    np.testing.assert_allclose(found, by(0.5, 0.5), atol=1e-5)


def test_a_file_says_it_and_the_user_may_change_half(tmp_path):
    files = {"open_clip_config.json": WHOLE}
    np.testing.assert_allclose(normalised(tmp_path, files), by(0.5, 0.25), atol=1e-5)
    found = normalised(tmp_path, files, mean=(0.0,) * 3, std=None)
    np.testing.assert_allclose(found, by(0.0, 0.25), atol=1e-5)
