"""What is written of rows is read again; what is cut short is whole rows."""

import csv
import json

import numpy as np
import pyarrow.parquet
import pytest

from mmjax.data.tables import writing
from mmjax.data.tables.opening import open_table
from mmjax.data.tables.writing import NUMBER, NUMBERS, TEXT, open_writer
from mmjax.errors import UserError

COLUMNS = ("name", "size", "prediction", "probability")
TYPES = {"prediction": TEXT, "probability": NUMBER}
ROWS = [
    {"name": f'a "quoted", {i}\nline', "size": None, "prediction": "cat", "probability": i / 3}
    for i in range(7)
] + [{"name": "unreadable"}]


def write(path, rows=ROWS, columns=COLUMNS, types=TYPES, chunk=3):
    with open_writer(path, columns, types) as file:
        for start in range(0, len(rows), chunk):
            file.write(rows[start : start + chunk])
    return path


@pytest.mark.parametrize("ending", writing.WRITERS)
def test_what_is_written_is_read_again(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(writing, "_GROUP", 4)
    table = open_table(str(write(tmp_path / f"a{ending}")))
    assert table.columns == COLUMNS
    assert len(table) == len(ROWS)
    for index, row in enumerate(ROWS):
        found = table.read(index)
        assert {key: found[key] for key in ("name", "size", "prediction")} == {
            key: row.get(key) for key in ("name", "size", "prediction")
        }
        number = found["probability"]
        assert (None if number is None else float(number)) == row.get("probability")


def interrupted(path):
    with open_writer(path, COLUMNS, TYPES) as file:
        file.write(ROWS[:5])
        raise KeyboardInterrupt


@pytest.mark.parametrize("ending", writing.WRITERS)
def test_no_rows_and_rows_before_an_error_are_a_whole_file(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert len(open_table(str(path))) == 5
    write(path, [])
    if ending in (".parquet", ".pq"):
        assert pyarrow.parquet.read_table(path).schema.names == list(COLUMNS)


class Full:
    """A disk that has room for half of what is written."""

    def __init__(self, file):
        self._file, self.truncate = file, file.truncate

    def write(self, data):
        self._file.write(data[: len(data) // 2])
        raise OSError("full")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def overfull(path):
    with open_writer(path, COLUMNS, TYPES) as file:
        file.write(ROWS[:2])
        file._file = Full(file._file)
        file.write(ROWS[2:])


def test_a_row_that_is_cut_short_is_taken_back(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(OSError, match="full"):
        overfull(path)
    with path.open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == [row["name"] for row in ROWS[:2]]


def test_arrays_are_lists_and_files_are_left_empty_once_said(tmp_path, caplog):
    rows = [{"box": np.array([1.5, 2]), "photo": b"\x89PNG", "new": {"a": [1]}}] * 3
    write(tmp_path / "a.jsonl", rows, ("box", "photo", "new"), {})
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"box": [1.5, 2.0], "photo": None, "new": {"a": [1]}}
    assert caplog.text.count("column 'photo' holds files and is left empty") == 1
    write(tmp_path / "a.parquet", rows, ("box", "photo"), {})
    assert open_table(str(tmp_path / "a.parquet")).read(0)["photo"] == b"\x89PNG"


def test_what_cannot_be_written_is_one_line(tmp_path):
    for path, columns, types, words in (
        ("a.xlsx", COLUMNS, {}, "write a file that ends in .csv, .tsv, .jsonl"),
        ("a.csv", ("embedding_a",), {"embedding_a": NUMBERS}, "is a list of numbers: write .jsonl"),
        ("no/a.csv", COLUMNS, {}, "cannot be written: No such file or directory"),
        ("no/a.parquet", COLUMNS, {}, "cannot be written: No such file or directory"),
    ):
        with pytest.raises(UserError, match=words):
            open_writer(tmp_path / path, columns, types)
    rows = [{"a": 1}] * writing._GROUP + [{"a": "x"}]
    with pytest.raises(UserError, match="column 'a' are not of one type"):
        write(tmp_path / "a.parquet", rows, ("a",), {}, chunk=writing._GROUP)
    assert len(open_table(str(tmp_path / "a.parquet"))) == writing._GROUP
