import json
import logging

import numpy as np
import pytest

from mmjax.data.own.own import own_data
from mmjax.data.preparing import writing
from mmjax.data.tables.opening import open_table
from mmjax.errors import UserError
from tests.data.own.readers import png
from tests.data.tables.files import rows

pytest.importorskip("array_record")
N = 230


def write_csv(folder, broken=()):
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = ["photo,x,label"]
    for i in range(N):
        (folder / "images" / f"{i}.png").write_bytes(b"" if i in broken else png(i))
        lines.append(f"images/{i}.png,{i}.5,{'ab'[i % 2]}")
    path = folder / "a.csv"
    path.write_text("\n".join(lines))
    return path


def plan(path, folder, size=50):
    return writing.Plan(open_table(path), folder, ("photo",), rows=size)


def test_rows_come_back_with_their_files_inside(tmp_path):
    path = write_csv(tmp_path)
    told = []
    about = writing.write(plan(path, tmp_path / "out"), 1, told.append)
    assert told == [0, 50, 100, 150, 200, 230]
    assert sum(about["files"].values()) == N
    for i in range(N):
        (tmp_path / "images" / f"{i}.png").unlink()
    found = rows(open_table(tmp_path / "out"))
    assert [row["x"] for row in found] == [f"{i}.5" for i in range(N)]
    assert [row["photo"] for row in found] == [png(i) for i in range(N)]
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == [*(f"rows-{i:05}-of-00005.array_record" for i in range(5)), "table.json"]
    own = own_data(tmp_path / "out", target="label")
    assert own.inputs["photo"].kind == "image"
    assert sum(map(len, own.splits.values())) == N


def test_several_processes_write_the_same(tmp_path):
    path = write_csv(tmp_path)
    one = writing.write(plan(path, tmp_path / "one"), 1)
    two = writing.write(plan(path, tmp_path / "two"), 2)
    assert one == two
    for name in one["files"]:
        assert rows(open_table(tmp_path / "one" / name)) == rows(
            open_table(tmp_path / "two" / name)
        )


def test_what_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    path, out = write_csv(tmp_path, broken=(3,)), tmp_path / "out"
    whole = writing.write(plan(path, tmp_path / "whole"), 1)
    write_shard = writing.write_shard

    def stopping(plan, name, span):
        if span.start == 100:
            (plan.folder / f"{name}.part").write_bytes(b"half")
            raise KeyboardInterrupt
        return write_shard(plan, name, span)

    monkeypatch.setattr(writing, "write_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        writing.write(plan(path, out), 1)
    with pytest.raises(UserError, match="is not whole; run mmjax.prepare again"):
        open_table(out)
    written = []

    def counting(plan, name, span):
        written.append(span.start)
        return write_shard(plan, name, span)

    monkeypatch.setattr(writing, "write_shard", counting)
    assert writing.write(plan(path, out), 1) == whole
    assert written == [0, 100, 150, 200]  # the first lacks a broken row
    assert not list(out.glob("*.part"))
    (tmp_path / "images" / "3.png").write_bytes(png(3))
    assert writing.write(plan(path, out), 1)["broken"] == {}
    assert written == [0, 100, 150, 200, 0]
    assert writing.write(plan(path, out), 1)["broken"] == {}
    assert written == [0, 100, 150, 200, 0]
    writing.write(plan(path, tmp_path / "whole"), 1)
    assert rows(open_table(out)) == rows(open_table(tmp_path / "whole"))


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    path, out = write_csv(tmp_path), tmp_path / "out"
    writing.write(plan(path, out), 1)
    path.write_text(path.read_text().replace("0.5,a", "0.25,a", 1))
    with pytest.raises(UserError, match="holds other rows: choose a new folder"):
        writing.write(plan(path, out), 1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(UserError, match="is not empty"):
        writing.write(plan(path, tmp_path / "mine"), 1)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["file"]
    with pytest.raises(UserError, match="cannot be written"):
        writing.write(plan(path, tmp_path / "mine" / "file"), 1)


def test_broken_rows_are_left_out_and_counted_and_too_many_are_refused(tmp_path, caplog):
    path = write_csv(tmp_path, broken=(3, 77))
    with caplog.at_level(logging.WARNING):
        about = writing.write(plan(path, tmp_path / "out"), 1)
    assert list(about["broken"]) == ["3", "77"]
    assert "a.csv, line 79: 'photo':" in about["broken"]["77"]
    assert "77.png is empty (0 bytes)" in caplog.text
    assert len(open_table(tmp_path / "out")) == N - 2
    path = write_csv(tmp_path, broken=(3, 77, 78))
    with pytest.raises(UserError, match="at least 3 of 230 records are broken"):
        writing.write(plan(path, tmp_path / "more"), 1)


def test_a_shard_with_too_few_records_is_said(tmp_path):
    writing.write(plan(write_csv(tmp_path), tmp_path / "out"), 1)
    about = tmp_path / "out" / "table.json"
    known = json.loads(about.read_text())
    known["files"]["rows-00001-of-00005.array_record"] = 51
    about.write_text(json.dumps(known))
    with pytest.raises(UserError, match="has 50 of 51 records"):
        open_table(tmp_path / "out")


def test_arrays_are_written_as_they_are(tmp_path):
    table = open_table({"x": np.arange(12.0).reshape(4, 3), "y": list("abab")})
    writing.write(writing.Plan(table, tmp_path / "out", ()), 1)
    found = rows(open_table(tmp_path / "out"))
    np.testing.assert_array_equal([row["x"] for row in found], np.arange(12.0).reshape(4, 3))
