import datetime
import decimal

import numpy as np
import pytest

from mmjax.data.tables.memory import of_tfds
from mmjax.data.tables.opening import open_table
from mmjax.data.tables.table import spread
from mmjax.errors import UserError
from tests.data.tables.files import again, rows


def test_arrays_by_name():
    image = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    table = open_table({"image": image, "x": np.array([1.5, np.nan]), "t": ["a", ""]}, name="mine")
    first, second = rows(table)
    np.testing.assert_array_equal(first["image"], image[0])
    assert (first["x"], first["t"]) == (1.5, "a")
    assert (second["x"], second["t"]) == (None, None)
    assert table.where(1) == "mine, row 1"


def test_a_list_of_dictionaries():
    day = datetime.date(1969, 7, 20)
    table = open_table([{"a": 1}, {"b": decimal.Decimal("0.5"), "c": day}])
    assert rows(table) == [
        {"a": 1, "b": None, "c": None},
        {"a": None, "b": 0.5, "c": "1969-07-20"},
    ]
    assert rows(again(table)) == rows(table)


def test_a_data_frame_is_read_by_place_whatever_its_index():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "n": [3, 4, 5],
            "s": ["x", None, "z"],
            "when": pd.to_datetime(["2020-01-02", None, "1950-01-01"]),
        },
        index=[2, 0, 1],
    )
    table = open_table(frame)
    assert [row["n"] for row in rows(table)] == [3, 4, 5]
    assert [row["s"] for row in rows(table)] == ["x", None, "z"]
    assert rows(table)[1]["when"] is None
    assert rows(table)[2]["when"].startswith("1950-01-01")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({}, "no columns"),
        ({"a": []}, "no rows"),
        ({"a": [1, 2], "b": [1]}, "columns of different lengths: {'a': 2, 'b': 1}"),
        ({"a": "abc"}, "column 'a' is str: give an array or a list"),
        ({1: [1]}, "a column is called 1"),
        ([{"a": 1}, 3], "row 1 is int, not a dictionary"),
        (3, "data of type int"),
    ],
)
def test_what_is_no_table_is_one_line(data, line):
    with pytest.raises(UserError, match=line):
        open_table(data)


def test_a_data_set_of_tfds(built):
    (version,) = built.rglob("dataset_info.json")
    table = open_table(version.parent)
    assert table.columns == (*of_tfds(str(version.parent)).columns,)
    assert table.columns[-1] == "split"
    row = table.read(len(table) - 1)
    assert row["image"].startswith(b"\x89PNG")
    assert row["split"] in ("train", "validation", "test")
    assert again(table).read(0)["image"] == table.read(0)["image"]


def test_rows_that_are_looked_at_are_short_runs_all_over():
    assert spread(7, 10) == list(range(7))
    for count, wanted in ((1000, 100), (1001, 1000), (10**6, 1000), (30, 7)):
        found = spread(count, wanted)
        assert wanted * 0.9 <= len(found) <= wanted
        assert found == sorted(set(found))
        assert (found[0], found[-1]) == (0, count - 1)
    runs = np.split(spread(10**6, 1000), np.flatnonzero(np.diff(spread(10**6, 1000)) > 1) + 1)
    assert len(runs) == 20
    assert {len(run) for run in runs} == {50}
