"""What enters is looked at: every array that does not fit is one line that says where."""

import dataclasses
import re

import numpy as np
import pytest

from mmjax.data.pipeline import loader
from mmjax.data.pipeline.checks import check_array, check_shape, check_texts
from mmjax.data.sources.arrays import ArrayExamples
from mmjax.data.sources.source import Records, Source
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError
from mmjax.types import Input
from tests.data.sources.test_arrays import make


def changed(part, key=None, place=None, number=None, of=make):
    """A split with one number of one array changed, or with another array."""
    arrays = of()
    if part == "targets":
        old = arrays.targets[key]
        array = old.values.copy() if place is not None else number
        if place is not None:
            array[place] = number
        new = dataclasses.replace(old, values=array)
        return dataclasses.replace(arrays, targets={**arrays.targets, key: new})
    array = getattr(arrays, part) if key is None else getattr(arrays, part).get(key)
    if place is None:
        array = number
    else:
        array = array.copy()
        array[place] = number
    if key is not None:
        array = {**getattr(arrays, part), key: array}
    return dataclasses.replace(arrays, **{part: array})


def full():
    number = np.arange(11)
    return dataclasses.replace(
        make(),
        targets={
            **make().targets,
            "tags": Target(np.full((11, 111), 0.5, np.float32), make().targets["label"].classes),
            "size": Target(np.arange(11) / 2),
        },
        index={"a": number},
        absent={"a": number > 5},
        ids={"a": number + 1},
    )


BAD = {
    "a label too high": (
        ("targets", "label", 3, 111),
        "target 'label' 111 of example 3 .* none of the 111",
    ),
    "a label below zero": (
        ("targets", "label", 3, -1),
        "target 'label' -1 of example 3 .*: give 0 to 110",
    ),
    "a label that is no number": (
        ("targets", "label", None, np.zeros(11)),
        "target 'label' must be .* int",
    ),
    "labels with two axes": (("targets", "label", None, np.zeros((11, 1), int)), "with one axis"),
    "a kind too high": (("slice_ids", None, 2, 2), "slice 2 of example 2 .* none of the 2 slices"),
    "nan": (("values", "a", (4, 1), np.nan), r"row 4 of 'a' holds nan at \[1\]"),
    "infinity": (("values", "a", (10, 1), -np.inf), r"row 10 of 'a' holds -inf at \[1\]"),
    "texts as values": (("values", "a", None, np.full(11, "x")), "'a' must be a numpy array"),
    "a mask of numbers": (("masks", "a", None, np.ones((11, 2))), "mask of 'a' must be .* bool"),
    "a mask too wide": (("masks", "a", None, np.ones((11, 3), bool)), r"shape \[11, 3\], but"),
    "a mask too deep": (("masks", "a", None, np.ones((11, 2, 1), bool)), r"\[11, 2, 1\], but"),
    "a target above one": (("targets", "tags", (7, 2), 1.5), "example 7 for class 2 is 1.5"),
    "a target that is nan": (("targets", "tags", (7, 2), np.nan), "example 7 for class 2 is nan"),
    "targets of other classes": (
        ("targets", "tags", None, np.ones((11, 2))),
        r"targets have shape \[11, 2\], but there are 111 classes",
    ),
    "a number that is nan": (("targets", "size", 4, np.nan), "'size' holds a number that is not"),
    "too few numbers": (("targets", "size", None, np.ones(3)), "3 of target 'size', 11 examples"),
    "texts that are none": (("targets", "size", None, [1] * 11), "text 0 of .*'size'.* is int"),
    "a row that is not there": (("index", "a", 1, 11), "index of 'a' 11 of example 1 .*11 rows"),
    "an index of nothing": (("index", "x", None, np.zeros(11, int)), "index of 'x', which is not"),
    "absence as numbers": (("absent", "a", None, np.zeros(11, int)), "absent of 'a' must .* bool"),
    "ids that are no numbers": (("ids", "a", None, np.zeros(11)), "ids of 'a' must be .* int"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_split_that_cannot_be_is_refused(name):
    full()
    (part, key, place, number), words = BAD[name]
    with pytest.raises(UserError, match=words) as told:
        changed(part, key, place, number, of=full)
    assert str(told.value).startswith("toy/train: ")
    assert "\n" not in str(told.value)


def test_arrays_are_arrays_and_texts_are_strings():
    with pytest.raises(UserError, match="toy: labels must be a numpy array of int, not list"):
        check_array("toy", "labels", [0, 1], "i")
    with pytest.raises(UserError, match="toy: text 1 of 't' is NoneType"):
        check_texts("toy", "t", ["a", None])


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e39])
def test_what_is_masked_may_be_anything_and_counts_nothing(number):
    values = make().values["a"].astype(np.float64)
    split = changed("values", "a", None, values)
    values = values.copy()
    values[3, 0] = number  # masked there
    dirty = changed("values", "a", None, values)
    first, second = (
        next(iter(loader.eval_batches(ArrayExamples(x, ("a",)), loader.Reading(11))))
        for x in (split, dirty)
    )
    assert np.isfinite(second["a"]).all() or number == 1e39
    np.testing.assert_array_equal(first["a_mask"], second["a_mask"])
    mask = first["a_mask"]
    np.testing.assert_array_equal(first["a"][mask], second["a"][mask])


ONE = {
    "vector": Input(np.zeros((1, 4), np.float32), np.ones((1, 4), bool)),
    "series": Input(np.zeros((1, 6, 4), np.float32), np.ones((1, 6), bool)),
    "text": Input(np.zeros((1, 5), np.int32), np.ones((1, 5), bool)),
    "image": Input(np.zeros((1, 8, 8, 3), np.uint8), np.ones(1, bool)),
}


@pytest.mark.parametrize("kind", ONE)
def test_rows_fit_the_model(kind):
    one = ONE[kind]
    values = np.repeat(one.value, 3, axis=0)
    mask = np.repeat(one.mask, 3, axis=0)
    check_shape("toy", "x", values, mask, one)
    with pytest.raises(UserError, match=r"toy: rows of 'x' have shape .* the config says"):
        check_shape("toy", "x", values[:, 1:], mask, one)
    other = mask[:, 0] if mask.ndim > 1 else mask[:, None]
    with pytest.raises(UserError, match=r"toy: the mask of 'x' has shape \[3"):
        check_shape("toy", "x", values, other, one)
    if one.value.dtype.kind in "iu":
        for wrong in (values.astype(np.float32), values.astype(np.int64) - 1):
            with pytest.raises(UserError, match="toy: 'x' is .*, the model takes"):
                check_shape("toy", "x", wrong, mask, one)


IMAGE = np.zeros((4, 4, 3), np.uint8)
ASKED = {"question": ("what?",), "answer": np.array([1]), "type": np.array([0])}
BROKEN = {
    "answer 2": (IMAGE, ASKED | {"answer": np.array([2])}, r"answer \[2\] is not from 0 to 1"),
    "answer -1": (IMAGE, ASKED | {"answer": [-1]}, r"answer \[-1\]"),
    "type": (IMAGE, ASKED | {"type": [1]}, r"type \[1\] is not from 0 to 0"),
    "lengths": (IMAGE, ASKED | {"question": ()}, "questions of different lengths"),
    "no string": (IMAGE, ASKED | {"question": (b"what?",)}, "a question is not a string"),
    "float image": (IMAGE / 255, ASKED, "image is float64 .* not uint8"),
    "grey image": (IMAGE[..., 0], ASKED, r"image is uint8 of shape \[4, 4\]"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_record_that_cannot_be_counts_as_broken(name):
    image, asked, words = BROKEN[name]
    raw = [{"image": IMAGE, "questions": ASKED}] * 200 + [{"image": image, "questions": asked}]
    decoders = {"image": lambda x: x, "questions": lambda x: x}
    source = Source("toy", Records(raw, decoders), ("yes", "no"), ("all",))
    assert source.read(0, ("image", "questions")) is not None
    assert source.read(200, ("image", "questions")) is None
    assert list(source.broken) == [200]
    assert re.search(words, source.broken[200])
    few = Source("toy", Records(raw[-3:], decoders), ("yes", "no"), ("all",))
    with pytest.raises(UserError, match=words):
        few.read(2, ("image", "questions"))
