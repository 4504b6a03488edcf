"""What users have becomes the input of a model, or one line that says why not."""

import numpy as np
import pytest

from mmjax.data.readers.by_kind import read_arrays, read_texts
from mmjax.errors import UserError

CLIP = {"name": "clip", "shape": (2, 3), "dtype": np.uint8, "masked_axes": 1}
SENSOR = {"name": "sensor", "shape": (3,), "dtype": np.float32, "masked_axes": 1}


def test_arrays_are_stacked_and_what_is_missing_is_masked():
    value, mask, *_ = read_arrays([[1, 2.5, -3], None, np.arange(3)], **SENSOR)
    np.testing.assert_array_equal(value, [[1, 2.5, -3], [0, 0, 0], [0, 1, 2]])
    np.testing.assert_array_equal(mask, [[1, 1, 1], [0, 0, 0], [1, 1, 1]])
    assert value.dtype == np.float32
    value, mask, *_ = read_arrays([None, np.full((2, 3), 255)], **CLIP)
    assert value.dtype == np.uint8
    np.testing.assert_array_equal(value[1], np.full((2, 3), 255))
    np.testing.assert_array_equal(mask, [[0, 0], [1, 1]])
    picture = CLIP | {"shape": (2, 2, 3), "masked_axes": 0}
    assert read_arrays([np.ones((2, 2, 3), int), None], **picture).mask.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("value", "options", "words"),
    [
        ([1.0, 2.0], SENSOR, r"sensor: expected float32 numbers of shape \[3\], got .* \[2\]"),
        (["a", "b", "c"], SENSOR, "sensor: expected float32 numbers"),
        ([1e39, 0, 0], SENSOR, "sensor: float32 holds numbers from"),
        ([0, np.inf, 0], SENSOR, "got 0.0 to inf"),
        (np.full((2, 3), 0.5), CLIP, "clip: expected uint8 numbers .*, got float64"),
        (np.full((2, 3), 256), CLIP, "clip: uint8 holds numbers from 0 to 255, got 256 to 256"),
        (np.full((2, 3), -1), CLIP, "got -1 to -1"),
    ],
)
def test_what_does_not_fit_is_told(value, options, words):
    with pytest.raises(UserError, match=words):
        read_arrays([value], **options)


def test_texts_are_strings():
    with pytest.raises(UserError, match="text must be a string, not int"):
        read_texts(["a", 3], encode=lambda texts: texts)
