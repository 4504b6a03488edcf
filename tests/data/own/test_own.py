import json
import logging

import numpy as np
import pytest

from mmjax.data.own.own import own_data
from mmjax.errors import UserError
from tests.data.own.readers import png

N = 100


def write(path, rows, columns):
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "images").mkdir()
    rows = []
    for i in range(N):
        (tmp_path / "images" / f"{i}.png").write_bytes(png(i))
        label = ("cat", "dog")[i % 2]
        rows.append((f"images/{i}.png", f"photo {i} of a {label}", i * 1.5, label, f"p{i // 5}"))
    return write(tmp_path / "a.csv", rows, ("photo", "caption", "age", "label", "patient"))


def test_files_and_a_target_are_splits_columns_and_targets(photos):
    own = own_data(photos, target="label", group="patient")
    assert {name: len(split) for name, split in own.splits.items()} == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }
    assert {name: wanted.kind for name, wanted in own.inputs.items()} == {
        "photo": "image",
        "caption": "text",
        "table": "vector",
    }
    target = own.splits["test"].targets["label"]
    assert target.classes == ("cat", "dog")
    assert target.mask is None
    for split in own.splits.values():
        labels = split.targets["label"].values
        assert [("cat", "dog")[n] for n in labels] == [("cat", "dog")[i % 2] for i in split.rows]
        split.targets["label"].check(split.name, "label", len(split))
    patients = [set((split.rows // 5).tolist()) for split in own.splits.values()]
    assert sum(map(len, patients)) == len(set.union(*patients))
    assert own.splits["train"].name == "a.csv/train"
    ages = own.splits["train"].rows * 1.5
    np.testing.assert_allclose(own.scales["table"].mean, [ages.mean()], rtol=1e-12)
    np.testing.assert_allclose(own.scales["table"].deviation, [ages.std()], rtol=1e-12)


def test_splits_are_the_same_for_one_seed_and_have_their_share_of_each_class(photos):
    rows = [own_data(photos, target="label", seed=seed).splits["test"].rows for seed in (0, 0, 1)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert (rows[0] != rows[2]).any()
    assert all(np.sum(r % 2) == 5 for r in rows)


def test_rows_hold_what_readers_take(photos, tmp_path):
    split = own_data(photos, target="label").splits["train"]
    values = split.parse(3, ("photo", "caption", "table"))
    row = int(split.rows[3])
    assert values["photo"] == str(tmp_path / "images" / f"{row}.png")
    assert values["caption"].startswith(f"photo {row} of")
    assert values["table"][0] == row * 1.5
    texts = list(split.texts("caption"))
    assert len(texts) == len(split)
    assert texts[3] == values["caption"]
    assert split.inputs["table"].shape == (1 + 21,)  # the age, and 20 patients or another


def test_a_column_says_the_splits(tmp_path):
    rows = [(i, ("train", "train", "dev", "test")[i % 4], "ab"[i // 50]) for i in range(N)]
    path = write(tmp_path / "a.csv", rows, ("x", "split", "y"))
    for options in ({}, {"split": "split"}):
        own = own_data(path, target="y", **options)
        assert own.splits["validation"].rows.tolist() == list(range(2, N, 4))
        assert list(own.inputs["table"].columns) == [own.columns["x"]]
    assert len(own_data(path, target="y", split="", inputs={"x": "x"}).splits["test"]) == 10


def test_files_say_the_splits_and_what_is_missing_is_made(tmp_path):
    one = write(tmp_path / "a.csv", [(i, "ab"[i % 2]) for i in range(90)], ("x", "y"))
    two = write(tmp_path / "b.csv", [(i, "ab"[i % 2]) for i in range(10)], ("x", "y"))
    own = own_data({"train": one, "test": two}, target="y")
    assert own.splits["test"].rows.tolist() == list(range(90, 100))
    assert own.table.where(90) == "b.csv, line 2"
    assert [len(split) for split in own.splits.values()] == [80, 10, 10]
    with pytest.raises(UserError, match="give each of train, validation, test"):
        own_data({"test": two}, target="y")
    given = [{"x": i, "y": "ab"[i % 2]} for i in range(20)]
    own = own_data({"train": given, "val": given[:4], "test": given[4:8]}, target="y")
    assert [len(split) for split in own.splits.values()] == [20, 4, 4]


def test_targets_of_all_types(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        {
            "x": float(i),
            "number": i / 7 if i % 10 else None,
            "tags": ["a", "b"][: i % 3],
            "born": f"19{i % 90 + 10}-01-02",
            "caption": f"this is the caption {i} of it" if i % 5 else "",
            "grade": i % 4,
        }
        for i in range(N)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    names = ("number", "tags", "born", "caption", "grade")
    split = own_data(path, target=names).splits["train"]
    targets, i = split.targets, split.rows
    assert {name: target.type for name, target in targets.items()} == {
        "number": "a number",
        "tags": "several classes",
        "born": "a number",
        "caption": "a text",
        "grade": "a class",
    }
    np.testing.assert_array_equal(targets["number"].mask, i % 10 > 0)
    np.testing.assert_allclose(
        targets["number"].values, np.where(i % 10, i / 7, 0).astype(np.float32), rtol=1e-6
    )
    assert targets["tags"].classes == ("a", "b")
    np.testing.assert_array_equal(targets["tags"].values, np.stack([i % 3 > 0, i % 3 > 1], 1))
    assert targets["grade"].classes == tuple("0123")
    np.testing.assert_array_equal(targets["grade"].values, i % 4)
    np.testing.assert_array_equal(targets["caption"].mask, i % 5 > 0)
    assert targets["born"].values.min() < -30_000
    for name, target in targets.items():
        target.check("here", name, len(split))


WRONG = [
    ({"target": "lable"}, "a.csv: no column 'lable'; did you mean 'label'"),
    ({"target": "label", "group": "pateint"}, "no column 'pateint'; did you mean 'patient'"),
    ({"target": "one"}, r"target 'one' has 1 class in training \('x' \(80 rows\)\): nothing"),
    ({"target": "same"}, "target 'same' is always 0.5: nothing to learn"),
    ({"target": "none"}, "target 'none' is empty in all rows"),
    ({"target": "label", "inputs": {"image": "photos"}}, "no column 'photos' for 'image'"),
    ({"target": "label", "inputs": {"a": "label"}}, "column 'label' of 'a' is a target"),
    ({"target": "label", "inputs": {"a": ("text", "age")}}, "give one column, or several of"),
    ({"target": "label", "inputs": {"a": "none"}}, "'none' of 'a' is empty: say what it is"),
    ({"target": "label", "types": {"text": "image"}}, "'text': its files are not found"),
    ({"target": "label", "types": {"text": "number"}}, "'text': no cell is of type number"),
    ({"target": "text", "types": {"text": "image"}}, "is of type image, not one of category"),
    ({"target": "label", "split": "patient"}, "'patient' is 'p0', no split"),
    ({"target": "label", "shares": {"trian": 1}}, "no split 'trian'; did you mean 'train'"),
]


@pytest.mark.parametrize(("options", "line"), WRONG)
def test_what_cannot_be_is_one_line(tmp_path, options, line):
    rows = [
        (f"some text {i} of four", i / 3, ("a", "b")[i % 2], "x", 0.5, "", f"p{i // 5}")
        for i in range(N)
    ]
    columns = ("text", "age", "label", "one", "same", "none", "patient")
    path = write(tmp_path / "a.csv", rows, columns)
    with pytest.raises(UserError, match=line) as error:
        own_data(path, **options)
    assert "\n" not in str(error.value)


def test_pictures_that_are_elsewhere_are_one_line(photos, tmp_path):
    elsewhere = tmp_path / "work" / "a.csv"
    elsewhere.parent.mkdir()
    elsewhere.write_text(photos.read_text())
    with pytest.raises(UserError, match="'photo': its files are not found: .*looked in"):
        own_data(elsewhere, target="label")
    assert "photo" in own_data(elsewhere, target="label", root=str(tmp_path)).inputs


def test_cells_of_other_types_are_counted_rows_and_many_of_them_are_refused(tmp_path, caplog):
    rows = [(i / 3, ("a", "b")[i % 2]) for i in range(300)]
    rows[7], rows[9] = ("inf", "a"), ("what", "b")
    path = write(tmp_path / "a.csv", rows, ("x", "y"))
    own = own_data(path, target="y")
    assert "a.csv, line 9: 'x': 'inf' is no finite number" in caplog.text
    assert "a.csv, line 11: 'x': 'what' is no number" in caplog.text
    assert sum(map(len, own.splits.values())) == 300
    rows[20:23] = [("what", "a")] * 3
    write(path, rows, ("x", "y"))
    with pytest.raises(UserError, match=r"at least 4 of 300 records are broken.* --check"):
        own_data(path, target="y")


def test_labels_that_differ_by_case_or_spaces_and_new_ones_are_warned_of(tmp_path, caplog):
    rows = [(i, ("Cat", "cat", "cat ")[i % 3], "train") for i in range(60)]
    rows += [(i, "bird", "test") for i in range(6)] + [(i, "cat", "val") for i in range(6)]
    path = write(tmp_path / "a.csv", rows, ("x", "label", "split"))
    with caplog.at_level(logging.WARNING):
        own = own_data(path, target="label")
    assert "'label' has words that differ only by case or spaces" in caplog.text
    assert "target 'label' has 1 classes that training lacks ('bird')" in caplog.text
    assert own.splits["test"].targets["label"].classes == ("Cat", "bird", "cat", "cat ")


def test_a_file_in_two_splits_is_warned_of(photos, caplog):
    text = photos.read_text().replace("images/7.png", "images/8.png")
    photos.write_text(text)
    rows = [
        line + ("," + ("test" if i == 8 else "train") if i else ",split")
        for i, line in enumerate(text.splitlines())
    ]
    photos.write_text("\n".join(rows))
    own_data(photos, target="label")
    assert "'photo': 1 the same files are in train and in test" in caplog.text


def test_columns_that_number_the_rows_are_no_inputs(tmp_path, caplog):
    rows = [(i, i, i / 3, "ab"[i % 2]) for i in range(N)]
    path = write(tmp_path / "a.csv", rows, ("patient_id", "Unnamed: 0", "x", "y"))
    own = own_data(path, target="y")
    assert [column.name for column in own.inputs["table"].columns] == ["x"]
    assert "column 'patient_id' only numbers the rows and is no input" in caplog.text
    own = own_data(path, target="y", inputs={"who": "patient_id"})
    assert own.inputs["who"].features.names() == ("patient_id",)


def test_columns_of_no_known_type_are_no_inputs(caplog):
    rows = [{"x": i / 3, "d": {"a": 1}, "y": "ab"[i % 2]} for i in range(N)]
    assert list(own_data(rows, target="y").inputs) == ["table"]
    assert "column 'd' is of no known type (dicts) and is no input" in caplog.text


def test_metrics_may_be_reported_by_a_column(tmp_path):
    rows = [(i, ("x", "y", "")[i % 3], "ab"[i % 2]) for i in range(N)]
    own = own_data(write(tmp_path / "a.csv", rows, ("x", "site", "y")), target="y", slice_by="site")
    split = own.splits["train"]
    assert split.slices == ("x", "y", "(empty)")
    np.testing.assert_array_equal(split.slice_ids, split.rows % 3)


def test_each_row_is_in_the_test_of_one_fold(photos):
    found = [
        own_data(photos, target="label", group="patient", fold=(i, 3)).splits for i in range(3)
    ]
    assert sorted(np.concatenate([f["test"].rows for f in found]).tolist()) == list(range(N))
    for splits in found:
        patients = [set((split.rows // 5).tolist()) for split in splits.values()]
        assert sum(map(len, patients)) == len(set.union(*patients)) == N // 5
        assert sum(map(len, splits.values())) == N
        assert len(splits["validation"]) < len(splits["test"])
    with pytest.raises(UserError, match="give a number from 0 to 2"):
        own_data(photos, target="label", fold=(3, 3))
    with pytest.raises(UserError, match="the data say which are for test: give files without"):
        own_data({"train": photos, "test": photos}, target="label", fold=(0, 3))


def test_files_of_one_name_in_two_folders_are_different_files(tmp_path, caplog):
    for number, folder in enumerate(("train", "test", "val")):
        (tmp_path / folder).mkdir()
        for i in range(4):
            (tmp_path / folder / f"{i}.png").write_bytes(png(10 * number + i))
        rows = [(f"{i}.png", "ab"[i % 2]) for i in range(4)]
        write(tmp_path / folder / "a.csv", rows, ("photo", "label"))
    files = {name: tmp_path / name / "a.csv" for name in ("train", "test", "val")}
    own_data(files, target="label")
    assert not caplog.text
    (tmp_path / "test" / "0.png").write_bytes(png(0))
    own_data(files, target="label")
    assert "'photo': 1 files of equal content are in train and in test" in caplog.text
