import dataclasses

import numpy as np
import pytest

from mmjax.data.pipeline import loader
from mmjax.data.sources.arrays import ArrayExamples, Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError


def make(length=11):
    number = np.arange(length)
    return Arrays(
        name="toy/train",
        values={
            "a": np.stack([number, number + 0.5], 1).astype(np.float32),
            "b": np.full((length, 4, 4, 3), number[:, None, None, None], np.uint8),
        },
        masks={"a": np.stack([number % 2 == 0, number >= 0], 1), "b": number % 3 == 0},
        targets={"label": Target(number * 10, tuple(map(str, range(111))))},
        slice_ids=number % 2,
        slices=("even", "odd"),
    )


def test_evaluation_gives_every_example_once_and_pads_with_blanks():
    batches = list(loader.eval_batches(ArrayExamples(make(), ("a", "b")), loader.Reading(4)))
    assert [batch["_mask"].sum() for batch in batches] == [4, 4, 3]
    real = {k: np.concatenate([b[k][b["_mask"]] for b in batches]) for k in batches[0]}
    arrays = make()
    np.testing.assert_array_equal(real["targets/label"], arrays.targets["label"].values)
    np.testing.assert_array_equal(real["slice"], arrays.slice_ids)
    for name in ("a", "b"):
        np.testing.assert_array_equal(real[name], arrays.values[name])
        np.testing.assert_array_equal(real[f"{name}_mask"], arrays.masks[name])
        assert batches[0][name].dtype == arrays.values[name].dtype
    for key, padded in batches[-1].items():
        np.testing.assert_array_equal(padded[3:], 0, err_msg=key)
    np.testing.assert_array_equal(arrays.values["a"], make().values["a"])


def test_rows_may_be_shared_and_examples_may_lack_them():
    number = np.array([3, 0, 3, 1])
    arrays = dataclasses.replace(
        make(4),
        index={"a": number},
        absent={"a": np.array([False, True, False, False]), "b": np.ones(4, bool)},
    )
    batch = next(iter(loader.eval_batches(ArrayExamples(arrays, ("a", "b")), loader.Reading(4))))
    np.testing.assert_array_equal(batch["a"], make().values["a"][number])
    expected = make().masks["a"][number] & np.array([[1], [0], [1], [1]], bool)
    np.testing.assert_array_equal(batch["a_mask"], expected)
    np.testing.assert_array_equal(batch["b"], make().values["b"][:4])
    assert not batch["b_mask"].any()


def encode(texts):
    ids = np.array([[len(text), ord(text[0]), 0] for text in texts], np.int32).reshape(-1, 3)
    return ids, ids > 0


TEXTS = {"words": ("one", "three", "a", "forty")}


def first_batch(arrays, *names, rows=4):
    examples = ArrayExamples(arrays, names, {"words": encode})
    return next(iter(loader.eval_batches(examples, loader.Reading(rows))))


def test_texts_are_encoded_and_taken_as_other_rows_are():
    arrays = dataclasses.replace(
        make(4), texts=TEXTS, absent={"words": np.array([False, True, False, False])}
    )
    batch = first_batch(arrays, "words", "a", rows=5)
    expected = [[3, ord("o"), 0], [5, ord("t"), 0], [1, ord("a"), 0], [5, ord("f"), 0], [0, 0, 0]]
    np.testing.assert_array_equal(batch["words"], expected)
    there = np.array(expected) > 0
    there[1] = False
    np.testing.assert_array_equal(batch["words_mask"], there)
    np.testing.assert_array_equal(batch["a"][:4], arrays.values["a"])
    shared = dataclasses.replace(arrays, absent={}, index={"words": np.array([2, 2, 0, 1])})
    batch = first_batch(shared, "words")
    np.testing.assert_array_equal(batch["words"], np.array(expected)[[2, 2, 0, 1]])
    assert batch["words_mask"][:, :2].all()
    assert "words" not in first_batch(arrays, "a")


def test_numbers_of_contents_follow_the_rows():
    arrays = dataclasses.replace(
        make(4),
        texts=TEXTS,
        index={"words": np.array([3, 3, 0, 1])},
        absent={"a": np.array([False, True, False, False])},
        ids={"a": np.array([7, 7, 8, 9]), "words": np.array([1, 2, 3, 4])},
    )
    batch = first_batch(arrays, "words", "a", "b", rows=5)
    np.testing.assert_array_equal(batch["words_id"], [4, 4, 1, 2, 0])
    np.testing.assert_array_equal(batch["a_id"], [7, 0, 8, 9, 0])
    assert batch["a_id"].dtype == batch["words_id"].dtype == np.int32
    assert "b_id" not in batch
    np.testing.assert_array_equal(arrays.ids["a"], [7, 7, 8, 9])
    assert "words_id" not in first_batch(arrays, "a")


def test_training_gives_every_example_once_an_epoch_in_another_order():
    examples = ArrayExamples(make(12), ("a",))
    iterator = loader.train_iterator(examples, loader.Reading(4), seed=1, epochs=2)
    batches = list(iterator)
    assert "b" not in batches[0]
    order = np.concatenate([batch["targets/label"] for batch in batches])
    first, second = order[:12], order[12:]
    np.testing.assert_array_equal(np.sort(first), np.arange(12) * 10)
    np.testing.assert_array_equal(np.sort(second), np.arange(12) * 10)
    assert (first != second).any()
    np.testing.assert_array_equal(batches[0]["a"][:, 0] * 10, batches[0]["targets/label"])


def test_a_process_gets_its_share():
    examples = ArrayExamples(make(12), ("a",))
    whole = next(loader.train_iterator(examples, loader.Reading(4), seed=1))
    for index in (0, 1):
        reading = loader.Reading(2, process_index=index, process_count=2)
        share = next(loader.train_iterator(examples, reading, seed=1))
        np.testing.assert_array_equal(
            share["targets/label"], whole["targets/label"][2 * index : 2 * index + 2]
        )


def test_mistakes_are_told():
    with pytest.raises(UserError, match=r"toy/train: modalities \('c',\): pass one or more of a"):
        ArrayExamples(make(), ("c",))
    with pytest.raises(UserError, match="one or more"):
        ArrayExamples(make(), ())
    with pytest.raises(UserError, match="different lengths: 3 of target 'label', 11 examples"):
        dataclasses.replace(make(), targets={"label": Target(np.zeros(3, int), ("x",))})
    with pytest.raises(UserError, match="11 rows of 'a' but 3 masks"):
        dataclasses.replace(make(), masks=make(3).masks)
    with pytest.raises(UserError, match="give one mask a modality"):
        dataclasses.replace(make(), masks={})
    words = dataclasses.replace(make(4), texts=TEXTS)
    with pytest.raises(UserError, match=r"\('c',\): pass one or more of a, b, words"):
        ArrayExamples(words, ("c",))
    with pytest.raises(UserError, match="toy/train: 'words' is text: pass what encodes it"):
        ArrayExamples(words, ("a", "words"))
    ArrayExamples(words, ("a",))
    with pytest.raises(UserError, match="different lengths.*'words': 4"):
        dataclasses.replace(make(), texts=TEXTS)
    with pytest.raises(UserError, match=r"\['a'\] are values and texts"):
        dataclasses.replace(make(4), texts={"a": TEXTS["words"]})
    for name, found in (("a", "11 rows"), ("c", "no rows")):
        with pytest.raises(UserError, match=f"4 ids but {found} of '{name}'"):
            dataclasses.replace(make(), ids={name: np.arange(4)})
