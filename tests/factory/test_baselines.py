"""Linear models beside a run: each task's own examples, and no others."""

import numpy as np
import pytest

from mmjax.data.sources.targets import CATEGORY
from mmjax.factory.baselines import Asked, linear_scores


def batches(seed):
    """Of the slice 0 the label is the sign of x, of the slice 1 its opposite, but half unknown."""
    random = np.random.default_rng(seed)
    x, slices = random.normal(size=(400, 1)).astype(np.float32), random.integers(0, 2, 400)
    return [
        {
            "x": x,
            "x_mask": np.ones((400, 1), bool),
            "slice": slices,
            "_mask": np.arange(400) < 390,
            "targets/sign": ((x[:, 0] > 0) ^ (slices == 1)).astype(np.int32),
            "targets/sign_mask": (slices == 0) | (np.arange(400) % 2 == 0),
        }
    ]


@pytest.mark.parametrize("asked", [0, 1, None])
def test_a_task_of_a_slice_is_compared_on_its_examples(asked):
    target = Asked("sign", CATEGORY, slice=asked)
    found = linear_scores(batches(0), batches(1), kinds={"x": "vector"}, targets={"t": target})
    score = found["t"].scores["linear, x"]
    if asked is None:  # two thirds are of the slice 0
        assert score == pytest.approx(2 / 3, abs=0.08)
    else:
        assert score > 0.9
