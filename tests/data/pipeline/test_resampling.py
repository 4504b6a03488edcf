"""How often each class is drawn, in the pipeline that draws it."""

import numpy as np
import pytest

from mmjax.data.pipeline import loader
from mmjax.data.pipeline.resampling import (
    class_counts,
    draw_probabilities,
    row_labels,
    row_slices,
)
from mmjax.data.sources.arrays import ArrayExamples, Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError
from tests.data import fakes

COUNTS = (400, 80, 20, 0)
LABELS = np.repeat(np.arange(4), COUNTS)


TARGET = Target(LABELS, ("w", "x", "y", "z"))


def split(target=TARGET):
    rows = np.arange(len(LABELS), dtype=np.float32)[:, None]
    return Arrays(
        name="fake/train",
        values={"a": rows},
        masks={"a": np.ones(rows.shape, bool)},
        targets={"label": target},
        slice_ids=np.zeros(len(LABELS), int),
        slices=("all",),
    )


def drawn(rule, *, batches=200, **reading):
    iterator = loader.train_iterator(
        ArrayExamples(split(), ("a",)),
        loader.Reading(50, **reading),
        seed=3,
        probabilities=draw_probabilities(LABELS, rule) if rule else None,
    )
    taken = [next(iterator) for _ in range(batches)]
    iterator.close()
    return taken


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("balanced", np.array([1, 1, 1, 0]) / 3),
        ("square_root", np.sqrt(COUNTS) / np.sqrt(COUNTS).sum()),
        ("", np.array(COUNTS) / 500),
    ],
)
def test_realised_frequencies_are_those_of_the_rule(rule, expected):
    labels = np.concatenate([batch["targets/label"] for batch in drawn(rule)])
    got = np.bincount(labels, minlength=4) / len(labels)
    # Four standard deviations of a share of 10,000 draws.
    deviation = np.sqrt(expected * (1 - expected) / len(labels))
    np.testing.assert_array_less(np.abs(got - expected), 4 * deviation + 1e-9)


def test_examples_of_a_class_are_equally_frequent_and_rows_stay_whole():
    batches = drawn("balanced")
    rows = np.concatenate([batch["a"][:, 0] for batch in batches]).astype(int)
    labels = np.concatenate([batch["targets/label"] for batch in batches])
    np.testing.assert_array_equal(labels, LABELS[rows])
    rare = np.bincount(rows[labels == 2], minlength=500)[480:]
    assert (np.abs(rare - rare.mean()) < 5 * np.sqrt(rare.mean())).all()
    assert rare.min() > 0


def test_draws_depend_on_the_position_alone_and_on_the_seed():
    few, threads = drawn("balanced", batches=3), drawn("balanced", batches=3, threads=2)
    parts = [drawn("balanced", batches=3, process_index=i, process_count=2) for i in (0, 1)]
    for one, other in zip(few, threads, strict=True):
        np.testing.assert_array_equal(one["a"], other["a"])
    assert not np.array_equal(few[0]["a"], few[1]["a"])
    both = [np.concatenate([one["a"], other["a"]]) for one, other in zip(*parts, strict=True)]
    alone = np.concatenate([batch["a"] for batch in drawn("balanced", batches=6)])
    np.testing.assert_array_equal(np.concatenate(both), alone)


def test_counts_of_labels_of_targets_and_of_questions():
    counts, examples = class_counts(split(), TARGET)
    np.testing.assert_array_equal(counts, COUNTS)
    assert examples == 500
    targets = np.zeros((500, 4), np.float32)
    targets[:10, :2] = 1
    several = Target(targets, TARGET.classes)
    np.testing.assert_array_equal(class_counts(split(several), several)[0], [10, 10, 0, 0])
    known = Target(LABELS, TARGET.classes, np.arange(500) < 410)
    counts, examples = class_counts(split(known), known)
    assert (counts.tolist(), examples) == ([400, 10, 0, 0], 410)
    source = fakes.make()
    names = Target(np.zeros(0, int), source.class_names)
    flat = fakes.examples(source, questions_per_image=0)
    rows = [flat.eval_row(i) for i in range(flat.eval_length())]
    asked = flat.batch(rows)["targets/label"]
    np.testing.assert_array_equal(row_labels(source, names), asked)
    counts = np.bincount(asked, minlength=len(source.class_names))
    np.testing.assert_array_equal(class_counts(source, names)[0], counts)


def test_counts_of_some_of_the_questions_only():
    source = fakes.make()
    names = Target(np.zeros(0, int), source.class_names)
    flat = fakes.examples(source, questions_per_image=0)
    batch = flat.batch([flat.eval_row(i) for i in range(flat.eval_length())])
    np.testing.assert_array_equal(row_slices(source), batch["slice"])
    for number in range(len(source.slices)):
        chosen = batch["slice"] == number
        counts, examples = class_counts(source, names, chosen)
        asked = batch["targets/label"][chosen]
        np.testing.assert_array_equal(counts, np.bincount(asked, minlength=len(counts)))
        assert examples == chosen.sum()
    known = Target(LABELS, TARGET.classes, np.arange(500) < 410)
    counts, examples = class_counts(split(known), known, np.arange(500) >= 400)
    assert (counts.tolist(), examples) == ([0, 10, 0, 0], 10)


def test_an_unknown_rule_is_one_line():
    with pytest.raises(UserError, match="resample='ballanced': choose one of balanced, square_ro"):
        draw_probabilities(LABELS, "ballanced")
