import io
import re

import numpy as np
import PIL.Image
import pytest
from rich.console import Console

from mmjax.data.columns.infer import infer_columns
from mmjax.data.columns.shown import print_columns
from mmjax.data.tables.opening import open_table
from mmjax.errors import UserError

PNG = b"\x89PNG\r\n\x1a\n"
N = 40


def one(values, **options):
    return infer_columns(open_table({"x": values}), **options)["x"]


def repeated(*values):
    return [values[i % len(values)] for i in range(N)]


@pytest.mark.parametrize(
    ("values", "kind", "form"),
    [
        ([f"{i}.5" for i in range(N)], "number", "1.5"),
        ([f"{i},5" for i in range(N)], "number", "1,5"),
        ([f"{i + 1},500" for i in range(N)], "number", "1,000.5"),
        ([f"{i * 100}" for i in range(N)], "number", "1.5"),
        ([float(i) for i in range(N)], "number", ""),
        (["na", "NaN", "-", *map(str, range(N))], "number", "1.5"),
        (repeated("1", "2", "3"), "category", ""),
        (repeated(True, False), "category", ""),
        (repeated("cat", "dog", "a bird"), "category", ""),
        ([f"word {i} of many words" for i in range(N)], "text", ""),
        (repeated("a|b", "b", "c|a", "b|c|a"), "labels", "|"),
        (repeated(["a", "b"], ["b"], []), "labels", ""),
        (repeated('["a", "b"]', '["b"]'), "labels", ""),
        ([f"[{i}, 2, 3]" for i in range(N)], "numbers", ""),
        ([[i, 2.5] for i in range(N)], "numbers", ""),
        ([[1.0] * (i % 5 + 1) for i in range(N)], "series", ""),
        ([f"[[{i}, 2], [3, 4]]" for i in range(N)], "series", ""),
        ([f"19{i + 50}-07-20" for i in range(N)], "date", "YMD"),
        ([f"{i % 28 + 1}/07/1969" for i in range(N)], "date", "DMY"),
        ([PNG] * N, "image", ""),
        ([b"RIFF\0\0\0\0WAVEfmt "] * N, "audio", ""),
        ([b"\0\0\0\x20ftypisom"] * N, "video", ""),
        ([b"RIFF\0\0\0\0AVI LIST"] * N, "video", ""),
        ([b"what is it"] * N, "bytes", ""),
        ([None, ""] * N, "empty", ""),
        (np.zeros((N, 4, 4, 3), np.uint8), "image", ""),
        (np.zeros((N, 2, 4, 4, 3), np.uint8), "video", ""),
        (np.zeros((N, 5)), "numbers", ""),
        (np.zeros((N, 5, 2)), "series", ""),
    ],
)
def test_types_from_cells(values, kind, form):
    found = one(values)
    assert (found.type, found.form, found.wrong, found.problem) == (kind, form, 0, "")


def test_empty_cells_and_different_ones_are_counted():
    found = one(["1.5", "", "nan", "1.5", "2.25", None, "3.125"])
    assert (found.type, found.rows, found.empty, found.distinct) == ("number", 7, 3, 3)
    assert found.examples == ("1.5", "2.25", "3.125")
    assert found.note == "1.5 to 3.125"
    found = one(["none", "some", "none", "some", "none"])
    assert (found.type, found.empty, found.distinct) == ("category", 0, 2)


def test_a_few_cells_of_another_type_are_counted_with_their_place(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "".join(f"{i}.5,1\n" for i in range(50)) + "abc,1\ninf,1\n")
    found = infer_columns(open_table(path))["x"]
    assert (found.type, found.wrong) == ("number", 2)
    assert found.note == "2 are not: a.csv, line 52: 'abc' is no number"


def test_a_column_of_both_is_text_and_says_so():
    found = one([f"{i}" for i in range(20)] + [f"word {i}" for i in range(20)])
    assert (found.type, found.note) == ("text", "50% are numbers")


def test_every_guess_can_be_overruled():
    years = [f"{i % 3 + 2000}" for i in range(N)]
    assert one(years).type == "category"
    assert one(years, types={"x": "number"}).type == "number"
    assert one(["03/04/2020"] * 4, types={"x": "date:DMY"}).form == "DMY"
    assert one(["03/04/2020"] * 4, types={"x": "date"}).form == "MDY"
    assert one(["1,500"] * 4, types={"x": "number:1,5"}).parse("1,500") == 1.5
    assert one([f"{i},500" for i in range(1, 9)]).parse("1,500") == 1500
    assert one(["a;b"], types={"x": "labels"}).parse("a; b;a") == ("a", "b")
    wrong = one(["a", "b"], types={"x": "number"})
    assert wrong.problem == "no cell is of type number (table, row 0: 'a' is no number)"


def test_what_overrules_must_be_there():
    with pytest.raises(UserError, match="no column 'photos'; did you mean 'photo'"):
        infer_columns(open_table({"photo": ["a"]}), types={"photos": "image"})
    with pytest.raises(UserError, match="types.x='imge': unknown; did you mean 'image'"):
        one(["a"], types={"x": "imge"})


def write_images(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        PIL.Image.new("RGB", (2, 2)).save(folder / f"{i}.png")


def test_paths_are_looked_for_beside_the_table_then_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write_images(tmp_path / "data" / "images", 3)
    path = tmp_path / "data" / "a.csv"
    path.write_text("photo,label\n" + "".join(f"images/{i}.png,x\n" for i in range(3)))
    assert infer_columns(open_table(path))["photo"].problem == ""
    elsewhere = tmp_path / "a.csv"
    elsewhere.write_text(path.read_text().replace("/", "\\"))
    found = infer_columns(open_table(elsewhere))["photo"]
    assert found.type == "image"
    assert re.fullmatch(
        rf"its files are not found: a.csv, line 2: 'images\\\\0.png': no such file; looked in"
        rf" {tmp_path} and {tmp_path}/work",
        found.problem,
    )
    assert not infer_columns(open_table(elsewhere), root=str(tmp_path / "data"))["photo"].problem
    monkeypatch.chdir(tmp_path / "data")
    assert not infer_columns(open_table(elsewhere))["photo"].problem
    (tmp_path / "data" / "images" / "1.png").write_bytes(b"RIFF\0\0\0\0WAVE")
    found = infer_columns(open_table(path))["photo"]
    assert found.note == "1 of 3 files hold something else by their first bytes"
    (tmp_path / "data" / "images" / "2.png").unlink()
    assert infer_columns(open_table(path))["photo"].note.startswith("1 of 3 files not found")


def test_broken_rows_are_left_out_but_not_all_may_be(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1.5\n2.5,1\n")
    assert infer_columns(open_table(path))["x"].rows == 1
    path.write_text("x,y\n1.5\n2.5\n")
    with pytest.raises(UserError, match="none of 2 rows can be read: a.csv, line 2: 1 cells"):
        infer_columns(open_table(path))


def test_the_table_that_is_shown_has_a_row_for_each_column():
    table = open_table({"age [years]": ["1.5", ""], "label": ["a", "a"]})
    output = io.StringIO()
    print_columns(Console(file=output, width=100), infer_columns(table), "rows")
    text = output.getvalue()
    assert "age [years]" in text
    assert "50%" in text
    assert "category" in text


def test_files_of_equal_first_bytes_are_different_ones():
    found = one([PNG + b"x" * 100 + bytes([i % 3]) for i in range(N)])
    assert (found.type, found.distinct) == ("image", 3)
    assert found.examples == ("109 bytes",) * 3
    assert found.inside


def test_lists_and_series_have_the_shape_of_most_and_of_the_longest():
    assert one([[1.0, 2.0, 3.0]] * N + [[1.0]]).shape == (3,)
    assert one([[[1, 2]] * (i % 7 + 1) for i in range(N)]).shape == (7, 2)
    assert one([[1.0] * (i % 5 + 1) for i in range(N)]).shape == (5, 1)
    assert one(["a", "b"]).shape == ()
