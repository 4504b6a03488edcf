import numpy as np
import pytest

from mmjax.data.splits.choose import by_names, completed, with_fold
from mmjax.data.splits.leaks import warn_of_contents, warn_of_names
from mmjax.data.tables.opening import open_table
from mmjax.errors import UserError

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def where(index):
    return f"line {index + 2}"


def lists(splits):
    return {name: rows.tolist() for name, rows in splits.items()}


def test_a_column_names_the_splits_in_the_words_that_people_use(caplog):
    found = by_names(["Train", "val", None, "dev ", "eval", "training"], where)
    assert lists(found) == {"train": [0, 5], "validation": [1, 3], "test": [4]}
    assert "1 rows have no 'split' and are left out" in caplog.text


def test_another_word_and_no_training_are_one_line():
    with pytest.raises(UserError, match="line 3: 'fold' is 'trian', no split; did you mean 'train"):
        by_names(["train", "trian"], where, "fold")
    with pytest.raises(UserError, match="nothing to train on"):
        by_names(["test"], where)


def test_what_is_missing_is_taken_from_training():
    given = {"train": np.arange(90), "test": np.arange(90, 100)}
    found = completed(given, SHARES, seed=0)
    assert {name: len(rows) for name, rows in found.items()} == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }
    assert lists(found)["test"] == list(range(90, 100))
    assert sorted(np.concatenate([found["train"], found["validation"]])) == list(range(90))
    assert list(completed({"train": np.arange(9)}, {"train": 1.0}, seed=0)) == ["train"]


def test_groups_and_classes_are_those_of_the_rows_of_training():
    given = {"train": np.arange(50, 100)}
    groups = np.arange(100) // 5
    found = completed(given, SHARES, seed=0, classes=np.arange(100) % 2, groups=groups)
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not set(groups[found[one]]) & set(groups[found[other]])


def test_splits_that_cannot_be_are_one_line():
    with pytest.raises(UserError, match="split 'test' has no rows: 2 groups do not suffice"):
        completed({"train": np.arange(10)}, SHARES, seed=0, groups=np.array([0] * 9 + [1]))
    with pytest.raises(UserError, match="1 groups are in 'train' and in 'test'"):
        completed(
            {"train": np.arange(5), "test": np.arange(5, 10)},
            SHARES,
            seed=0,
            groups=np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
        )
    with pytest.raises(UserError, match="no split 'valid'; did you mean 'validation'"):
        completed({"train": np.arange(5)}, {"train": 1, "valid": 1}, seed=0)


def test_files_in_two_splits_are_warned_of_by_name_and_by_content(tmp_path, caplog):
    for name, data in (("a", b"one"), ("b", b"two"), ("c", b"one"), ("d", b"four")):
        (tmp_path / f"{name}.png").write_bytes(data)
    path = tmp_path / "a.csv"
    path.write_text("photo\na.png\nb.png\nc.png\nb.png\nd.png\nnone.png\n")
    table = open_table(path)
    splits = {"train": np.array([0, 1]), "test": np.array([2, 3, 4, 5])}
    assert warn_of_names(table, "photo", splits, np.array([1, 2, 3, 2, 4, 0])) == 1
    assert "'photo': 1 the same files are in train and in test" in caplog.text
    assert "first a.csv, line 3 and a.csv, line 5" in caplog.text
    caplog.clear()
    assert warn_of_contents(table, "photo", splits) == 2
    assert "'photo': 2 files of equal content are in train and in test" in caplog.text
    caplog.clear()
    apart = {"train": np.array([0, 1]), "test": np.array([4, 5])}
    assert warn_of_names(table, "photo", apart, np.array([1, 2, 3, 2, 4, 0])) == 0
    assert warn_of_contents(table, "photo", apart) == 0
    assert not caplog.text


def test_the_folds_are_the_tests_of_runs_and_are_all_rows():
    rows = np.arange(10, 40)
    found = [with_fold({"train": rows}, (i, 3), seed=1) for i in range(3)]
    for split in found:
        assert len(split["test"]) == 10
        assert sorted([*split["train"], *split["test"]]) == rows.tolist()
    tests = np.concatenate([split["test"] for split in found])
    assert sorted(tests) == rows.tolist()
    with pytest.raises(UserError, match="fold 3 of 3: give a number from 0 to 2"):
        with_fold({"train": rows}, (3, 3), seed=1)
    with pytest.raises(UserError, match="folds are of all rows, but the data say which are for te"):
        with_fold({"train": rows, "test": rows}, (0, 3), seed=1)
