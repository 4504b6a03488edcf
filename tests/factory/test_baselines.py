"""Linear models of simple features: they find what is linear, and nothing where nothing is."""

import numpy as np
import pytest

from mmjax.data.sources.targets import CATEGORIES, CATEGORY, NUMBER
from mmjax.factory import baselines
from mmjax.factory.baselines import ALL, Asked, linear_scores

ROWS, BATCH = 240, 40
KINDS = {"a": "vector", "b": "vector"}


def batches(seed, target, *, labelled=1.0, count=ROWS):
    """Two vectors of three numbers; `target` of them and random numbers."""
    rng = np.random.default_rng(seed)
    for _ in range(count // BATCH):
        a, b = rng.normal(size=(2, BATCH, 3)).astype(np.float32)
        there = rng.random(BATCH) < labelled
        y = np.asarray(target(a, b))
        yield {
            "a": a,
            "a_mask": np.ones((BATCH, 3), bool),
            "b": b,
            "b_mask": np.ones((BATCH, 3), bool),
            "_mask": np.arange(BATCH) < BATCH - 3,
            "slice": np.zeros(BATCH, int),
            "targets/y": np.where(there.reshape(-1, *[1] * (y.ndim - 1)), y, 7),
            "targets/y_mask": there,
        }


def scores(target, kind, unit=1.0, **options):
    given = batches(0, target, **options), batches(1, target, **options)
    found = linear_scores(*given, kinds=KINDS, targets={"task": Asked("y", kind, unit)})["task"]
    return found.metric, {name.removeprefix("linear, "): s for name, s in found.scores.items()}


def test_classes_are_found_by_the_modality_that_says_them():
    metric, found = scores(lambda a, _: a.argmax(1), CATEGORY, labelled=0.8)
    assert metric == "accuracy"
    assert found["a"] > 0.85
    assert found[ALL] > 0.8
    assert found["b"] < 0.5
    assert set(found) == {"a", "b", ALL}


def test_numbers_are_in_the_unit_of_the_target():
    metric, found = scores(lambda a, b: a.sum(1) + b[:, 0], NUMBER, unit=10.0)
    assert metric == "rmse"
    assert found[ALL] < 5.0
    assert found["a"] == pytest.approx(10.0, rel=0.2)  # b is left
    assert found["b"] == pytest.approx(10 * np.sqrt(3), rel=0.2)


def test_of_several_labels_all_must_be_right():
    metric, found = scores(lambda a, b: np.stack([a[:, 0] > 0, b[:, 0] > 0], 1), CATEGORIES)
    assert metric == "exact_match"
    assert found[ALL] > 0.8
    assert found["a"] == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(("features", "noise"), [(3, 0.0), (400, 4.0)])
def test_the_penalty_is_about_the_best(features, noise, monkeypatch):
    """A weak one where the rows say all, a strong one where they are mostly noise."""

    def rows(seed):
        rng = np.random.default_rng(seed)
        for _ in range(10):
            x = rng.normal(size=(BATCH, features)).astype(np.float32)
            yield {
                "a": x,
                "a_mask": np.ones(x.shape, bool),
                "_mask": np.ones(BATCH, bool),
                "slice": np.zeros(BATCH, int),
                "targets/y": x[:, :3].sum(1) + noise * rng.normal(size=BATCH),
                "targets/y_mask": np.ones(BATCH, bool),
            }

    def rmse(penalties):
        monkeypatch.setattr(baselines, "PENALTIES", penalties)
        asked = {"task": Asked("y", NUMBER)}
        found = linear_scores(rows(0), rows(1), kinds={"a": "vector"}, targets=asked)
        return found["task"].scores["linear, a"]

    every = baselines.PENALTIES
    alone = [rmse((penalty,)) for penalty in every]
    assert rmse(every) < 1.05 * min(alone)
    assert max(alone) > 1.2 * min(alone)


def test_the_rows_that_choose_the_penalty_are_not_those_of_an_earlier_epoch(monkeypatch):
    """With more features than rows the weakest penalty fits what was seen."""

    def rows(seed, epochs=1):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(BATCH, 100)).astype(np.float32), rng.normal(size=BATCH)
        for _ in range(epochs):
            yield {
                "a": x,
                "a_mask": np.ones(x.shape, bool),
                "_mask": np.ones(BATCH, bool),
                "slice": np.zeros(BATCH, int),
                "targets/y": y,
                "targets/y_mask": np.ones(BATCH, bool),
            }

    monkeypatch.setattr(baselines, "PENALTIES", (1.0, 1e6))
    of = {"kinds": {"a": "vector"}, "targets": {"task": Asked("y", NUMBER)}}
    once = linear_scores(rows(0), rows(1), **of)
    assert linear_scores(rows(0, 6), rows(1), rows=BATCH, **of) == once
    assert linear_scores(rows(0, 6), rows(1), **of) != once


def test_one_class_and_few_rows_are_no_error():
    assert scores(lambda *_: np.zeros(BATCH, int), CATEGORY)[1]["a"] == 1.0
    _, found = scores(lambda a, _: a[:, 0] > 0, CATEGORY, labelled=0.06, count=BATCH)
    assert 0 <= found[ALL] <= 1


def sliced(seed):
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
    found = linear_scores(sliced(0), sliced(1), kinds={"x": "vector"}, targets={"t": target})
    score = found["t"].scores["linear, x"]
    if asked is None:  # two thirds are of the slice 0
        assert score == pytest.approx(2 / 3, abs=0.08)
    else:
        assert score > 0.9
