"""Features less their mean in training, over their deviation: the same in training and after."""

import dataclasses

import numpy as np
import pytest

from mmjax.data.pipeline import loader, scaling
from mmjax.data.readers.by_kind import read_arrays
from mmjax.data.readers.lengths import read_steps
from mmjax.data.sources.arrays import ArrayExamples
from mmjax.errors import UserError
from tests.data.sources.test_arrays import make


def values(kind, rng):
    """Rows with columns of different units, and what is there of them."""
    shape = (700, 4) if kind == "vector" else (300, 5, 4)
    x = rng.normal(size=shape) * [1e-4, 1.0, 3e4, 0.0] + [7.0, -2.0, 1e6, 0.1]
    return x, rng.random(x.shape if kind == "vector" else x.shape[:2]) < 0.7


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", ["vector", "series"])
def test_scales_are_of_what_is_there(kind, dtype, monkeypatch):
    monkeypatch.setattr(scaling, "_ROWS", 64)
    x, there = values(kind, np.random.default_rng(0))
    x = x.astype(dtype)
    known = np.where(there if kind == "vector" else there[..., None], x, np.nan)
    x[np.isnan(known)] = np.inf  # whatever it is, it counts nothing
    scale = scaling.measure(x, there)
    flat = np.float64(known.reshape(-1, 4))
    np.testing.assert_allclose(scale.mean, np.nanmean(flat, 0), rtol=1e-6)
    expected = np.nanstd(flat, 0)
    np.testing.assert_allclose(scale.deviation[:3], expected[:3], rtol=1e-3)
    assert scale.deviation[3] == 1
    scaled = scale.apply(x, there)
    assert scaled.dtype == np.float32
    beside = there if kind == "vector" else np.broadcast_to(there[..., None], x.shape)
    assert (scaled[~beside] == 0).all()
    seen = np.where(beside, np.float64(scaled), np.nan).reshape(-1, 4)
    np.testing.assert_allclose(np.nanmean(seen, 0), 0, atol=2e-2)
    np.testing.assert_allclose(np.nanstd(seen, 0)[:3], 1, atol=1e-2)


def test_units_do_not_matter():
    rng = np.random.default_rng(1)
    x, there = rng.normal(size=(50, 3)), np.ones((50, 3), bool)
    units, offset = np.array([1e-6, 1.0, 1e6]), np.array([3.0, 0.0, -1e5])
    here = scaling.measure(x, there).apply(x, there)
    other = scaling.measure(x * units + offset, there).apply(x * units + offset, there)
    np.testing.assert_allclose(here, other, atol=1e-5)


def test_a_feature_that_is_never_there_stays_as_it_is():
    scale = scaling.measure(np.full((4, 2), 5), np.array([[True, False]] * 4))
    assert scale.mean.tolist() == [5, 0]
    assert scale.deviation.tolist() == [1, 1]


def test_scales_come_back_from_their_file(tmp_path):
    file = tmp_path / "scales.json"
    assert scaling.read(file) == {}
    x, there = values("vector", np.random.default_rng(2))
    scale = scaling.measure(x, there)
    scaling.write(file, {"a": scale})
    for mine, stored in zip(scale, scaling.read(file)["a"], strict=True):
        np.testing.assert_array_equal(mine, stored)
    for damaged in ("{", '{"a": 3}', '{"a": {"mean": [1]}}', "[]"):
        file.write_text(damaged)
        with pytest.raises(UserError, match=r"scales\.json holds no scales"):
            scaling.read(file)


@pytest.mark.parametrize("kind", ["vector", "series"])
def test_predictions_scale_as_training_does(kind):
    x, there = values(kind, np.random.default_rng(3))
    x, there = x[:11], there[:11]
    scale = scaling.measure(x, there)
    x[~there] = np.nan
    split = dataclasses.replace(make(), values={"a": x}, masks={"a": there})
    examples = ArrayExamples(split, ("a",), scales={"a": scale})
    batch = next(iter(loader.eval_batches(examples, loader.Reading(11))))
    options = {"name": "a", "shape": x.shape[1:], "dtype": np.float32, "scale": scale}
    if kind == "vector":
        read = read_arrays(list(x), masked_axes=1, **options)
    else:
        read = read_steps(list(x), **options)
    np.testing.assert_array_equal(read.value, batch["a"])
    np.testing.assert_array_equal(read.mask, batch["a_mask"])
    far = np.full(x.shape[1:], 3e38)
    options |= {"scale": scale._replace(deviation=np.full(4, 1e-9))}
    with pytest.raises(UserError, match="a: a number is too far"):
        read_arrays([far], masked_axes=1, **options)
