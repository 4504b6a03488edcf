import logging

import numpy as np
import pytest

from mmjax.data.columns import cells, dates
from mmjax.data.columns.features import Features
from mmjax.data.columns.infer import Column
from mmjax.data.columns.vocabulary import Vocabulary, alike, most_frequent, ordered, warn_of_alike


def column(name, kind, form=""):
    return Column(name, kind, rows=1, empty=0, distinct=1, form=form)


FEATURES = Features(
    (column("age", "number"), column("color", "category"), column("tags", "labels", ";")),
    {"color": Vocabulary(("blue", "red")), "tags": Vocabulary(("x", "y"))},
)


def test_a_row_as_a_vector():
    assert FEATURES.names() == (
        *("age", "color=(unseen)", "color=blue", "color=red"),
        *("tags=(unseen)", "tags=x", "tags=y"),
    )
    row = {"age": "3", "color": "red", "tags": "y;x"}
    assert FEATURES.vector(row).tolist() == [3, 0, 0, 1, 0, 1, 1]
    row = {"age": "3", "color": "green", "tags": "z;x"}
    assert FEATURES.vector(row).tolist() == [3, 1, 0, 0, 1, 1, 0]


def test_what_is_empty_is_nan_and_what_is_wrong_says_the_column():
    vector = FEATURES.vector({"age": "n/a", "color": None, "tags": "x"})
    assert np.isnan(vector).tolist() == [True] * 4 + [False] * 3
    with pytest.raises(ValueError, match="age: 'inf' is no finite number"):
        FEATURES.vector({"age": "inf", "color": None, "tags": None})


def test_rows_at_once_are_those_one_by_one():
    features = Features((column("born", "date"), *FEATURES.columns), FEATURES.vocabularies)
    rows = [
        {"born": "1969-07-20", "age": "3", "color": "red", "tags": "y;x"},
        {"born": None, "age": None, "color": "green", "tags": "z"},
        {"born": "2024-02-29T12:00", "age": "-1.5", "color": None, "tags": None},
    ]
    parsed = [features.parse(row) for row in rows]
    found = features.vectors([*parsed[:2], None, parsed[2]])
    assert found.dtype == np.float64
    assert np.isnan(found[2]).all()
    for vector, row in zip(found[[0, 1, 3]], rows, strict=True):
        np.testing.assert_array_equal(vector, features.vector(row))
    assert features.vectors([]).shape == (0, len(features))
    assert features.vectors([None]).shape == (1, len(features))


def test_a_date_is_its_seven_features():
    features = Features((column("born", "date"),), {})
    assert len(features) == 7
    assert features.vector({"born": "1969-07-20"})[0] == -11122
    assert features.names()[0] == "born days"
    assert np.isnan(features.vector({"born": None})).all()


def test_only_numbers_and_days_are_scaled():
    features = Features((column("born", "date"), *FEATURES.columns), FEATURES.vocabularies)
    scale = features.scale(
        {"age": np.array([1.0, 3.0, np.nan]), "born": np.array([10.0, 10.0, 10.0])}
    )
    assert scale.mean.tolist() == [10, *[0] * 6, 2, *[0] * 6]
    assert scale.deviation.tolist() == [1, *[1] * 6, 1, *[1] * 6]
    assert len(scale.mean) == len(dates.FEATURES) + len(FEATURES)


def test_the_most_frequent_words_in_order():
    assert most_frequent({"b": 3, "a": 1, "c": 2}, 2).words == ("b", "c")
    assert ordered(["10", "9", "b", "a", "9"]) == ("9", "10", "a", "b")
    words = Vocabulary(("b", "c"))
    assert [words.number(word) for word in "abc"] == [0, 1, 2]


def test_words_that_differ_by_case_or_spaces_are_warned_of(caplog):
    counts = {"Cat": 3, "cat ": 12, "cat": 1, "dog": 2, "a  b": 1, "A b": 2}
    assert alike(counts) == [("cat ", "Cat", "cat"), ("A b", "a  b")]
    with caplog.at_level(logging.WARNING):
        warn_of_alike("a.csv", "label", {"dog": 1, "cat": 1})
        assert not caplog.text
        warn_of_alike("a.csv", "label", counts)
    assert "a.csv: 'label' has words that differ only by case or spaces" in caplog.text
    assert "'cat ' (12), 'Cat' (3), 'cat' (1); 'A b' (2), 'a  b' (1)" in caplog.text


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("number", " 1e3 ", 1000),
        ("number", True, 1),
        ("number", "?", None),
        ("category", 3.0, "3"),
        ("category", " x ", " x "),
        ("category", False, "false"),
        ("category", "  ", None),
        ("category", "None", "None"),
        ("text", 5, "5"),
        ("labels", ["b", "a", "b"], ("b", "a")),
    ],
)
def test_cells(kind, value, found):
    assert cells.parse(kind, value) == found


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(
            ("number", value)
            for value in ("1_000", "inf", float("inf"), "1,5", [1], "0x10", 10**400)
        ),
        *(("numbers", value) for value in ("[1, 2", "[[1], [2]]", ["a"], 3, "[1, Infinity]")),
        *(("series", value) for value in ([[1, 2], [3]], [[[1]]], "abc")),
        *(("category", value) for value in ([1], {"a": 1})),
        ("date", "soon"),
        ("image", 3),
    ],
)
def test_cells_that_are_no_such_thing(kind, value):
    with pytest.raises(ValueError, match="."):
        cells.parse(kind, value)


def test_lists_of_numbers_keep_what_is_missing():
    assert np.isnan(cells.numbers("[1, null, NaN]")).tolist() == [False, True, True]
    assert cells.series([1, 2]).shape == (2, 1)
    assert cells.series("[[1, 2], [3, 4], [5, 6]]").shape == (3, 2)


CELLS = {
    "number": ("1", " 2.5 ", "1e3", "-0", "?", "nan", "", "  ", None, 7, True, 2.5),
    "category": ("a", "a", " a", "1", "1.0", 1, 1.0, True, False, None, ""),
    "text": ("some words", "some words", "", None, 5),
    "labels": ("a|b", "b", '["a", "c"]', None, "", ["b", "a"]),
    "date": ("1969-07-20", "2024-02-29T12:00", "?", None),
}
WRONG = {
    "number": ("inf", "-nan", "1_000", "x", [1], "1,5"),
    "category": ([1],),
    "text": ([1], "half \ud83d"),
    "labels": ("[1",),
    "date": ("soon",),
}


@pytest.mark.parametrize("kind", CELLS)
def test_a_column_at_once_is_its_cells_one_by_one(kind):
    form = "|" if kind == "labels" else ""
    texts = tuple(value for value in CELLS[kind] if value is None or isinstance(value, str))
    for values in (CELLS[kind], texts, texts[:2], ()):
        wanted = [cells.parse(kind, value, form) for value in values]
        found = cells.parse_all(kind, values, form)
        found = [None if value != value else value for value in found]  # NaN is missing too
        assert found == wanted
        assert [type(value) for value in found] == [type(value) for value in wanted]
    for wrong in WRONG[kind]:
        for values in (CELLS[kind], texts[:2]):
            with pytest.raises(ValueError, match="."):
                cells.parse_all(kind, (*values, wrong), form)
