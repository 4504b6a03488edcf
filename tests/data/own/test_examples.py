import dataclasses
import json

import numpy as np
import pytest

from mmjax.data.own.examples import TableExamples
from mmjax.data.own.own import own_data
from mmjax.data.pipeline.loader import Examples, Reading, eval_batches, train_iterator
from mmjax.data.pipeline.scaling import Scale
from mmjax.data.sources.arrays import ArrayExamples, Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError
from tests.data.fakes import assert_equal, take
from tests.data.own.readers import encode, make, png, wav

N = 200
SHARES = {"train": 1.0}


def rows_of(folder):
    """A row of everything; each thing is missing in some rows."""
    for i in range(N):
        (folder / f"{i}.png").write_bytes(png(i))
        (folder / f"{i}.wav").write_bytes(wav(i % 10 + 1))
        yield {
            "photo": f"{i}.png" if i % 7 else "",
            "sound": f"{i}.wav" if i % 5 else None,
            "caption": f"{i} words of one caption" if i % 3 else "",
            "age": i / 3 if i % 4 else None,
            "color": ("red", "blue")[i % 2] if i % 6 else None,
            "box": [i, 2.5, 3] if i % 8 else None,
            "steps": [[i, 1]] * (i % 5 + 1) if i % 9 else None,
            "label": "abc"[i % 3] if i % 10 else None,
        }


def write(folder, rows):
    path = folder / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def own(tmp_path):
    types = {"color": "category"}
    return own_data(write(tmp_path, rows_of(tmp_path)), target="label", shares=SHARES, types=types)


def batches(own, **changes):
    examples = TableExamples(own.splits["train"], make(own))
    return list(eval_batches(examples, Reading(**({"batch_rows": 16, "threads": 0} | changes))))


def joined(own):
    """The rows of all batches that are real, by key."""
    found = batches(own)
    rows = {key: np.concatenate([batch[key] for batch in found]) for key in found[0]}
    return {key: value[rows["_mask"]] for key, value in rows.items()}


def test_a_batch_has_the_keys_of_arrays_and_rows_of_one_shape(own):
    examples = TableExamples(own.splits["train"], make(own))
    assert isinstance(examples, Examples)
    assert examples.train_length() == examples.eval_length() == N
    (first, *_, last) = batches(own)
    modalities = ("photo", "sound", "caption", "table", "box", "steps")
    assert set(first) == {
        *(key for name in modalities for key in (name, f"{name}_mask")),
        *("targets/label", "targets/label_mask", "slice", "_mask"),
    }
    assert {key: (value.dtype.name, value.shape) for key, value in first.items()} == {
        key: (value.dtype.name, value.shape) for key, value in last.items()
    }
    assert last["_mask"].tolist() == [True] * 8 + [False] * 8
    for key, value in last.items():
        if key.endswith("_mask"):
            assert not value[8:].any()


def test_what_is_empty_is_missing_by_mask_and_nothing_else_is(own):
    i, rows = np.arange(N), joined(own)
    assert len(rows["_mask"]) == N

    def mask(name):
        return rows[f"{name}_mask"].reshape(N, -1).any(axis=1)

    for name, every in (("photo", 7), ("sound", 5), ("caption", 3), ("box", 8), ("steps", 9)):
        np.testing.assert_array_equal(mask(name), i % every > 0)
    np.testing.assert_array_equal(mask("targets/label"), i % 10 > 0)
    features = rows["table_mask"]
    names = own.inputs["table"].features.names()
    assert names == ("age", "color=(unseen)", "color=blue", "color=red")
    np.testing.assert_array_equal(features[:, 0], i % 4 > 0)
    np.testing.assert_array_equal(features[:, 1:], np.repeat((i % 6 > 0)[:, None], 3, 1))


def test_values_are_those_of_the_rows_scaled_by_training(own):
    i, rows = np.arange(N), joined(own)
    np.testing.assert_array_equal(rows["photo"][:, 0, 0, 0], np.where(i % 7, i, 0))
    np.testing.assert_array_equal(rows["sound_mask"].sum(1), (i % 5 > 0) * (i % 10 + 1))
    assert rows["caption"][1].tolist() == [ord(c) for c in "1 word"]
    age = rows["table"][:, 0]
    known = i[i % 4 > 0] / 3
    np.testing.assert_allclose(
        age[i % 4 > 0], (known - known.mean()) / known.std(), rtol=1e-5, atol=1e-6
    )
    assert not age[i % 4 == 0].any()
    np.testing.assert_array_equal(rows["table"][:, 3], (i % 6 > 0) & (i % 2 == 0))
    box = rows["box"][i % 8 > 0]
    np.testing.assert_allclose(box.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(box[:, 0].std(), 1, rtol=1e-5)
    np.testing.assert_array_equal(rows["targets/label"], np.where(i % 10, i % 3, 0))


def test_arrays_in_memory_and_the_same_rows_in_a_file_give_equal_batches(tmp_path):
    texts = [f"some words of text {i}" for i in range(30)]
    label = np.arange(30) % 3
    rows = [{"text": t, "label": "abc"[n]} for t, n in zip(texts, label, strict=True)]
    own = own_data(write(tmp_path, rows), target="label", shares=SHARES)
    arrays = Arrays(
        name="arrays",
        values={},
        masks={},
        texts={"text": texts},
        targets={"label": Target(label, tuple("abc"))},
        slice_ids=np.zeros(30, int),
        slices=("all",),
    )
    reading = Reading(8, threads=0)
    ours = TableExamples(own.splits["train"], make(own))
    theirs = ArrayExamples(arrays, ("text",), {"text": encode})
    for one, two in zip(eval_batches(ours, reading), eval_batches(theirs, reading), strict=True):
        assert_equal(one, two)
    for one, two in zip(
        *(take(train_iterator(e, reading, seed=3), 9) for e in (ours, theirs)), strict=True
    ):
        assert_equal(one, two)


def test_a_broken_file_is_one_blank_row_and_one_count(tmp_path, caplog):
    path = write(tmp_path, rows_of(tmp_path))
    own = own_data(path, target="label", shares=SHARES, types={"color": "category"})
    data = (tmp_path / "11.png").read_bytes()
    (tmp_path / "11.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "12.png").write_bytes(b"")
    examples = TableExamples(own.splits["train"], make(own))
    for _ in range(3):
        blank = examples.batch([examples.eval_row(i) for i in (10, 11, 12, 13)])
    assert blank["_mask"].tolist() == [True, False, False, True]
    for key, value in blank.items():
        assert not value[1:3].any(), key
    assert sorted(own.splits["train"].broken) == [11, 12]
    assert caplog.text.count("is broken and left out") == 2
    assert "a.jsonl, line 12" in caplog.text
    assert "12.png is empty (0 bytes)" in caplog.text
    (tmp_path / "13.png").unlink()
    with pytest.raises(UserError, match=r"at least 3 of 200 records are broken, .*line 12"):
        examples.eval_row(13)


def test_a_row_that_cannot_be_parsed_is_counted_and_blank(tmp_path, caplog):
    path = tmp_path / "a.csv"
    lines = ["x,y", *(f"{i}.5,{'ab'[i % 2]}" for i in range(N))]
    lines[5], lines[8] = "1,2,3", "inf,a"
    path.write_text("\n".join(lines))
    own = own_data(path, target="y", shares=SHARES)
    caplog.clear()
    found = batches(own)
    assert np.flatnonzero(~np.concatenate([b["_mask"] for b in found])[:N]).tolist() == [4, 7]
    assert "a.csv, line 6: 3 cells" in caplog.text
    assert "a.csv, line 9: x: 'inf' is no finite number" in caplog.text
    assert sum(int(b["_mask"].sum()) for b in found) == N - 2


def test_a_row_that_a_reader_refuses_is_counted_and_blank_wherever_it_is_found(tmp_path, caplog):
    rows = [{"x": 1e150 if i == 7 else i, "note": f"n {i}", "y": "ab"[i % 2]} for i in range(N)]
    rows[90]["note"] = "half of \ud83d a character"
    own = own_data(write(tmp_path, rows), target="y", shares=SHARES)
    plain = Scale(np.zeros(1), np.ones(1))  # so that 1e150 is more than float32 holds
    readers = make(dataclasses.replace(own, scales={"table": plain}))
    read = readers["table"]
    examples = TableExamples(own.splits["train"], readers)
    found = list(eval_batches(examples, Reading(16, threads=0)))
    real = np.concatenate([batch["_mask"] for batch in found])[:N]
    assert np.flatnonzero(~real).tolist() == [7, 90]
    for key in ("table", "note", "table_mask", "note_mask", "targets/y_mask"):
        assert not found[0][key][7].any()
        assert found[0][key][8].any()
    assert "a.jsonl, line 8: " in caplog.text
    assert "a.jsonl, line 91" in caplog.text

    def broken(values):
        if len(values) > 1:
            raise RuntimeError("only ever one")
        return read(values)

    with pytest.raises(RuntimeError, match="only ever one"):
        TableExamples(own.splits["train"], readers | {"table": broken}).batch(
            [examples.eval_row(0), examples.eval_row(1)]
        )


def test_workers_and_threads_give_the_same_batches(own):
    examples = TableExamples(own.splits["train"], make(own))
    alone = take(train_iterator(examples, Reading(16, threads=0), seed=0), 6)
    for changes in ({"threads": 4}, {"workers": 1}):
        iterator = train_iterator(examples, Reading(16, **changes), seed=0)
        for one, two in zip(alone, take(iterator, 6), strict=True):
            assert_equal(one, two)
        iterator.close()


def test_within_an_epoch_it_goes_on_with_other_workers_and_processes(own):
    examples = TableExamples(own.splits["train"], make(own))
    alone = take(train_iterator(examples, Reading(16), seed=0), 14)  # 12.5 are an epoch
    begun = train_iterator(examples, Reading(16, workers=1), seed=0)
    take(begun, 5)
    shares = []
    for process in range(2):
        reading = Reading(8, workers=process, process_index=process, process_count=2)
        iterator = train_iterator(examples, reading, seed=0)
        iterator.set_state(begun.get_state())
        shares.append(take(iterator, 9))
        iterator.close()
    begun.close()
    for whole, *parts in zip(alone[5:], *shares, strict=True):
        assert_equal(whole, {key: np.concatenate([p[key] for p in parts]) for key in whole})


def test_modalities_that_are_not_there_are_one_line(own):
    split = own.splits["train"]
    with pytest.raises(UserError, match=r"modalities \['image'\]: pass one or more of photo"):
        TableExamples(split, {"image": make(own)["photo"]})
    with pytest.raises(UserError, match="pass one or more of"):
        TableExamples(split, {})


def test_only_the_columns_of_the_modalities_are_read(own):
    split = own.splits["train"]
    asked = []

    class Watched:
        name, columns = split.table.name, split.table.columns

        def __len__(self):
            return len(split.table)

        def read(self, index, columns=None):
            asked.extend(columns)
            return split.table.read(index, columns)

        def where(self, index):
            return split.table.where(index)

        def folder(self, index):
            return split.table.folder(index)

    watched = dataclasses.replace(split, table=Watched())
    TableExamples(watched, {"caption": make(own)["caption"]}).eval_row(4)
    assert asked == ["caption"]
