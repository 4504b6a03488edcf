"""Data sets mixed: shares, masks of what a row lacks, and whole batches of one part in turn."""

import itertools

import numpy as np
import pytest

from mmjax.data.pipeline import loader
from mmjax.data.pipeline.mixture import Mixture, alternating, proportions
from mmjax.data.sources.arrays import ArrayExamples, Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError

ROWS = {"a": 30, "b": 10}


def part(name, rows, features=3, target="label"):
    values = np.arange(1, rows * features + 1, dtype=np.float32).reshape(rows, features)
    arrays = Arrays(
        name=name,
        values={name: values},
        masks={name: np.ones((rows, features), bool)},
        targets={f"{name}_{target}": Target(np.arange(rows) % 3, ("x", "y", "z"))},
        slice_ids=np.arange(rows) % 2,
        slices=("even", "odd"),
    )
    return ArrayExamples(arrays, (name,))


def mixture(probabilities=(0.75, 0.25), alternate=0):
    parts = {name: part(name, rows) for name, rows in ROWS.items()}
    return Mixture("both", parts, probabilities, alternate, slices=[2, 2])


def test_every_example_comes_once_in_evaluation_and_lacks_what_the_other_has():
    mixed = mixture()
    batches = list(loader.eval_batches(mixed, loader.Reading(batch_rows=16)))
    joined = {key: np.concatenate([b[key] for b in batches]) for key in batches[0]}
    real = joined["_mask"]
    assert real.sum() == 40
    first = joined["targets/a_label_mask"]
    np.testing.assert_array_equal(first[real], np.arange(40) < 30)
    np.testing.assert_array_equal(joined["targets/b_label_mask"][real], np.arange(40) >= 30)
    for name, has in (("a", first), ("b", ~first & real)):
        assert joined[f"{name}_mask"][has].all()
        assert not joined[f"{name}_mask"][~has].any()
        assert not joined[name][~has].any()
    np.testing.assert_array_equal(
        joined["a"][real & first], part("a", 30).batch([{"position": i} for i in range(30)])["a"]
    )
    np.testing.assert_array_equal(joined["slice"][real & first], np.arange(30) % 2)
    np.testing.assert_array_equal(joined["slice"][real & ~first], 2 + np.arange(10) % 2)


def test_rows_are_drawn_by_their_probability_and_a_run_goes_on_where_it_was():
    reading = loader.Reading(batch_rows=20)
    batches = loader.train_iterator(mixture((0.2, 0.8)), reading, seed=3)
    seen = list(itertools.islice(batches, 50))
    share = np.mean([batch["targets/a_label_mask"] for batch in seen])
    assert share == pytest.approx(0.2, abs=0.05)  # 1,000 draws: a deviation of 0.013
    again = loader.train_iterator(mixture((0.2, 0.8)), reading, seed=3)
    again.set_state({"next_batch": 30})
    for expected in seen[30:35]:
        found = next(again)
        for key, array in expected.items():
            np.testing.assert_array_equal(found[key], array)


@pytest.mark.parametrize("processes", [1, 2])
def test_alternating_batches_are_of_one_part_each_in_any_number_of_processes(processes):
    found = []
    for index in range(processes):
        reading = loader.Reading(8 // processes, process_index=index, process_count=processes)
        batches = loader.train_iterator(mixture((0.75, 0.25), 8), reading, seed=0)
        found.append([b["targets/a_label_mask"] for b in itertools.islice(batches, 20)])
    whole = np.concatenate(found, axis=1)
    assert all(mask.all() or not mask.any() for mask in whole)
    # Every epoch of five batches begins anew: a, a (or b), ...
    assert whole[:, 0].sum() in range(14, 17)


def test_shares_by_size_temperature_and_weight():
    np.testing.assert_allclose(proportions([30, 10]), [0.75, 0.25])
    np.testing.assert_allclose(proportions([30, 10], temperature=np.inf), [0.5, 0.5])
    np.testing.assert_allclose(proportions([16, 4], temperature=2.0), [2 / 3, 1 / 3])
    np.testing.assert_allclose(proportions([30, 10], weights=[1.0, 3.0]), [0.5, 0.5])
    np.testing.assert_array_equal(alternating(np.array([2.0, 1.0]), 6), [0, 1, 0, 0, 1, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [1.0]}, "of 2 data sets"),
        ({"weights": [1.0, -1.0]}, "0 or more"),
        ({"weights": [0.0, 0.0]}, "0 or more"),
        ({"temperature": 0.0}, "above 0"),
        ({"temperature": float("nan")}, "above 0"),
    ],
)
def test_shares_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        proportions([30, 10], **options)


def test_parts_that_do_not_go_together_are_one_line():
    parts = {"a": part("a", 4), "other": part("a", 4, features=2)}
    with pytest.raises(UserError, match=r"'a' of other is float32 \[2\]"):
        Mixture("both", parts, (0.5, 0.5))
    with pytest.raises(UserError, match="holds no example"):
        Mixture("both", {}, ())
