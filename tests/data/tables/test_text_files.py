import csv
import io
import json
import logging
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.data.tables import lines
from mmjax.data.tables.opening import open_table
from mmjax.errors import UserError
from tests.data.tables.files import again, rows


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return str(path)


def test_cells_are_strings_and_an_empty_one_is_none(tmp_path):
    table = open_table(write(tmp_path / "a.csv", "name,age\nAnna,3\n,\n"))
    assert table.columns == ("name", "age")
    assert rows(table) == [{"name": "Anna", "age": "3"}, {"name": None, "age": None}]
    assert table.read(0, ["age"]) == {"age": "3"}
    assert table.folder(0) == str(tmp_path)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators_line_ends_and_byte_order_marks(tmp_path, separator, end, mark):
    text = mark + end.join(f"{a}{separator}{b}" for a, b in (("x", "y, z"), (1, 2), ("é", "1.5")))
    if separator == ",":
        text = text.replace("y, z", '"y, z"')
    table = open_table(write(tmp_path / "a.csv", text))
    assert table.columns == ("x", "y, z")
    assert rows(table) == [{"x": "1", "y, z": "2"}, {"x": "é", "y, z": "1.5"}]


def test_a_row_may_have_line_ends_in_quotes_and_lines_are_counted_as_an_editor_does(tmp_path):
    text = 'a,b\n"one\n""two""\n",2\n\n\n5" pipe,6\n"x",7\n'
    table = open_table(write(tmp_path / "a.csv", text))
    assert [row["a"] for row in rows(table)] == ['one\n"two"\n', '5" pipe', "x"]
    assert [table.where(i) for i in range(3)] == ["a.csv, line 2", "a.csv, line 7", "a.csv, line 8"]


@pytest.mark.parametrize("block", [5, 16, 2**22])
@settings(deadline=None, max_examples=60)
@given(
    data=st.lists(
        st.lists(st.text('ab,"\n é', max_size=6), min_size=2, max_size=2), min_size=1, max_size=8
    )
)
def test_what_the_csv_module_writes_is_read_whatever_the_blocks(tmp_path_factory, block, data):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows([["p", "q"], *data])
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(buffer.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK", block)
        table = open_table(str(path))
    assert [[row["p"] or "", row["q"] or ""] for row in rows(table)] == data
    line = 2
    for index, row in enumerate(data):
        assert table.where(index) == f"a.csv, line {line}"
        line += 1 + sum(cell.count("\n") for cell in row)


def test_ragged_rows_are_one_broken_row_each_and_nothing_else_is_lost(tmp_path):
    text = "a,b\n1,2\n3\n4,5,6\n7,8,,\n9,10\n"
    found = rows(open_table(write(tmp_path / "a.csv", text)))
    assert found[0] == {"a": "1", "b": "2"}
    assert found[1] == "a.csv, line 3: 1 cells, but 2 columns (separated by ',')"
    assert found[2].startswith("a.csv, line 4: 3 cells")
    assert found[3:] == [{"a": "7", "b": "8"}, {"a": "9", "b": "10"}]


def test_a_quote_that_is_never_closed_breaks_its_row_only(tmp_path):
    found = rows(open_table(write(tmp_path / "a.csv", 'a,b\n1,2\n"3,4\n5,6\n7,8\n')))
    assert found[1] == "a.csv, line 3: a quote is opened and not closed"
    assert [row["a"] for row in (found[0], *found[2:])] == ["1", "5", "7"]


def test_a_quote_that_is_not_closed_in_too_many_bytes_breaks_its_row_only(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK", 64)
    monkeypatch.setattr(lines, "MAX_ROW", 200)
    text = 'a,b\n"3,4\n' + "".join(f"{i},{i}\n" for i in range(500))
    found = rows(open_table(write(tmp_path / "a.csv", text)))
    assert "not closed" in found[0]
    assert [row["a"] for row in found[1:]] == [str(i) for i in range(500)]


def test_a_cell_of_ten_megabytes(tmp_path):
    long = 'say "no"\n' * 1_100_000
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b"], [long, "1"], ["x", "2"]])
    found = rows(open_table(str(path)))
    assert found[0]["a"] == long
    assert found[1] == {"a": "x", "b": "2"}


def test_a_second_column_of_one_name_is_kept_under_another_and_warned_of(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        table = open_table(write(tmp_path / "a.csv", "a, a,,a\n1,2,3,4\n"))
    assert table.read(0) == {"a": "1", "a (2)": "2", "column 3": "3", "a (3)": "4"}
    assert "a.csv, line 1: a second column 'a'; it is called 'a (2)'" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\xef\xbb\xbf", "is empty"),
        ("a.csv", "a,b\n1,2".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        ("a.csv", b"\x1f\x8b\x08\x00", "is compressed"),
        ("a.csv", b"PK\x03\x04zip", "is a ZIP file or a spreadsheet"),
        ("a.csv", b"a,b\n", "has the names of columns, but no rows"),
        ("a.csv", b"\n\n\n", "holds empty lines only"),
        ("a.csv", b"1,2\n3,4\n", "line 1: the names of the columns are expected"),
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b'{"a": ', "a.jsonl, line 1: no JSON"),
        ("a.jsonl", b"3\n", "a int, not an object"),
        ("a.json", b'[\n{"a": 1}\n]', "is one list in JSON: write one object a line"),
        ("a.bin", b"what is it", "is no table"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, name, content, line):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=line):
        open_table(str(path))


def test_a_row_that_is_not_utf8_is_broken(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,caf\xe9\n2,x\n")
    found = rows(open_table(str(path)))
    assert "line 2: not UTF-8 (byte 5 of the row is 0xe9)" in found[0]
    assert found[1] == {"a": "2", "b": "x"}


def test_json_lines_have_the_keys_of_all_rows_and_broken_ones_say_their_line(tmp_path):
    text = '{"a": 1, "b": [1, 2]}\n\n{"c": null, "a": NaN}\nno\n{"a": "x"}'
    table = open_table(write(tmp_path / "a.jsonl", "\ufeff" + text))
    assert table.columns == ("a", "b", "c")
    found = rows(table)
    assert found[0] == {"a": 1, "b": [1, 2], "c": None}
    assert found[1] == {"a": None, "b": None, "c": None}
    assert found[2].startswith("a.jsonl, line 4: no JSON")
    assert found[3]["a"] == "x"
    assert rows(again(table)) == found


def test_the_content_says_the_format_where_the_name_does_not(tmp_path):
    table = open_table(write(tmp_path / "rows.data", json.dumps({"a": 1})))
    assert table.read(0) == {"a": 1}


def test_of_a_hundred_thousand_rows_only_offsets_are_kept(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("w") as file:
        file.write("text,label\n")
        file.writelines(f'"{i} {"x" * 200}\n",{i % 7}\n' for i in range(100_000))
    tracemalloc.start()
    table = open_table(str(path))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # An offset of 8 bytes a row, and here, where every row has two lines, two numbers for these.
    assert kept < 3 * 8 * 100_000 + 100_000
    assert path.stat().st_size > 20_000_000
    assert len(pickle.dumps(table)) < 3 * 8 * 100_000 + 100_000
    assert table.read(99_999)["label"] == str(99_999 % 7)
    assert table.where(99_999) == "a.csv, line 200000"


def test_rows_of_one_line_keep_eight_bytes_each(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "some words,1\n" * 100_000)
    assert len(pickle.dumps(open_table(str(path)))) < 8 * 100_000 + 10_000


def test_an_index_is_kept_and_made_anew_for_a_changed_or_damaged_file(tmp_path, caplog):
    path, cache = tmp_path / "a.csv", str(tmp_path / "cache")
    write(path, "a,b\n1,2\n3,4\n")
    first = rows(open_table(str(path), cache=cache))
    (kept,) = (tmp_path / "cache" / "indices").iterdir()
    assert rows(open_table(str(path), cache=cache)) == first
    kept.write_bytes(b"PK damaged")
    assert rows(open_table(str(path), cache=cache)) == first
    assert "is damaged" in caplog.text
    write(path, "a,b\n1,2\n3,4\n5,66\n")
    assert len(open_table(str(path), cache=cache)) == 3
    blocked = tmp_path / "file"
    blocked.touch()
    assert len(open_table(str(path), cache=str(blocked))) == 3
    assert "cannot keep the index" in caplog.text


def test_a_file_that_changes_while_it_is_read_is_said(tmp_path):
    path = tmp_path / "a.csv"
    table = open_table(write(path, "a,b\n1,2\n3,4\n"))
    write(path, "a,b\n1,2\n")
    with pytest.raises(UserError, match="has changed since it was opened"):
        table.read(0)


def test_rows_are_those_of_numpy_positions(tmp_path):
    table = open_table(
        write(tmp_path / "a.csv", "a,label\n" + "".join(f"{i},x\n" for i in range(50)))
    )
    for index in np.random.default_rng(0).permutation(50):
        assert table.read(int(index))["a"] == str(index)
    with pytest.raises(IndexError):
        table.read(50)
    with pytest.raises(UserError, match="no column 'lable'; did you mean 'label'"):
        table.read(0, ["lable"])
