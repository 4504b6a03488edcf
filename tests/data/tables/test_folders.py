import pytest

from mmjax.data.tables import folders
from mmjax.data.tables.opening import open_table
from mmjax.errors import UserError
from tests.data.tables.files import again, rows


def make(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def of(table, *columns):
    return [tuple(row[name] for name in columns) for row in rows(table)]


def test_a_folder_for_each_class(tmp_path):
    make(tmp_path, "dog/b.png", "dog/a.png", "cat/c.png", "cat/.DS_Store", "cat/wild/ü.png")
    table = open_table(tmp_path)
    assert table.columns == ("file", "label")
    expected = [
        (str(tmp_path / path), path.rpartition("/")[0])
        for path in ("cat/c.png", "cat/wild/ü.png", "dog/a.png", "dog/b.png")
    ]
    assert of(table, "file", "label") == expected
    assert of(again(table), "file", "label") == expected
    assert table.where(0) == str(tmp_path / "cat/c.png")


def test_a_folder_for_each_split_and_class(tmp_path):
    make(tmp_path, "train/cat/1.png", "val/cat/2.png", "Test/dog/3.png")
    found = of(open_table(tmp_path), "split", "label")
    assert found == [("test", "dog"), ("train", "cat"), ("validation", "cat")]


def test_several_folders_are_classes_and_one_without_folders_has_none(tmp_path):
    make(tmp_path, "cat/1.png", "dog/2.png", "dog/3.png")
    table = open_table([tmp_path / "dog", tmp_path / "cat"])
    assert of(table, "label") == [("dog",), ("dog",), ("cat",)]
    assert open_table(tmp_path / "dog").columns == ("file",)


def test_a_folder_of_tables_is_their_rows(tmp_path):
    (tmp_path / "b.csv").write_text("x\n2\n")
    (tmp_path / "a.csv").write_text("x\n1\n")
    assert of(open_table(tmp_path), "x") == [("1",), ("2",)]
    (tmp_path / "c.jsonl").write_text('{"x": 3}')
    with pytest.raises(UserError, match=r"several formats \(.csv, .jsonl\): give a pattern"):
        open_table(tmp_path)


def test_a_folder_without_files_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no files there"):
        open_table(tmp_path)


def test_a_link_to_a_folder_above_does_not_go_round(tmp_path):
    make(tmp_path, "cat/1.png")
    (tmp_path / "cat" / "up").symlink_to(tmp_path)
    assert of(open_table(tmp_path), "file") == [(str(tmp_path / "cat/1.png"),)]


def test_hidden_files_and_folders_are_none(tmp_path):
    make(tmp_path, "cat/1.png", "cat/.DS_Store", ".cache/2.png", "cat/.old/3.png")
    assert of(open_table(tmp_path), "file") == [(str(tmp_path / "cat/1.png"),)]


def test_a_walk_ends_where_hardly_anything_is_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MANY", 10)
    make(tmp_path, *(f"a/{i}.txt" for i in range(11)), "b/1.png")
    with pytest.raises(UserError, match="of its first 11 files 0 are pictures, sounds or videos"):
        open_table(tmp_path)
    make(tmp_path, "a/0.png")  # one of a hundred is enough to go on
    assert len(open_table(tmp_path)) == 13
