import io
import json

import PIL.Image
import pytest
from rich.console import Console

from mmjax.data.columns.infer import infer_columns
from mmjax.data.preparing import checking, shown
from mmjax.data.tables.opening import open_table
from tests.data.own.readers import png

N = 60


def decode(value):
    with PIL.Image.open(io.BytesIO(value) if isinstance(value, bytes) else value) as image:
        image.load()


@pytest.fixture
def report(tmp_path):
    rows = []
    for i in range(N):
        (tmp_path / f"{i}.png").write_bytes(png(i))
        row = {"photo": f"{i}.png", "age": i / 2, "box": [i, 1, 2], "label": "ab"[i % 2]}
        rows.append(row)
    (tmp_path / "5.png").write_bytes(png(5)[:40])
    (tmp_path / "6.png").write_bytes(b"")
    (tmp_path / "7.png").unlink()
    (tmp_path / "8.png").write_bytes(png(9))
    rows[20] = rows[10]
    rows[21]["age"] = 1e6
    rows[22]["age"] = None
    rows[23]["box"] = [1, 2]
    rows[24]["label"] = "A"
    rows[25]["age"] = "old"
    lines = [json.dumps(row) for row in rows]
    lines[30] = "{"
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    table, told = open_table(path), []
    columns = infer_columns(table)
    found = checking.check(table, columns, {"image": decode}, progress=told.append)
    assert told == list(range(1, N + 1))
    return found


def said(report, what):
    return [(f.column, f.where, f.said) for f in report.findings if f.what == what]


def line(number):
    return f"a.jsonl, line {number}"


def test_everything_that_is_wrong_is_said_with_its_line(report):
    assert report.rows == N
    assert report.broken == 5
    broken = said(report, "broken")
    assert [(column, where) for column, where, _ in broken] == [
        *(("photo", line(6)), ("photo", line(7)), ("photo", line(8))),
        *(("age", line(26)), ("", line(31))),
    ]
    assert "0 bytes" in broken[1][2]
    assert "no such file" in broken[2][2]
    assert said(report, "missing") == [("age", line(23), "empty")]
    assert said(report, "duplicated row") == [("", line(21), f"as {line(11)}")]
    assert said(report, "duplicated file") == [("photo", line(10), f"as {line(9)}")]
    ((column, where, words),) = said(report, "out of range")
    assert (column, where) == ("age", line(22))
    assert words.startswith("1e+06, when half are")
    assert said(report, "other length") == [("box", line(24), "2 numbers, most have 3")]
    assert said(report, "alike labels") == [("label", "", "'a' (28), 'A' (1)")]
    assert report.labels == {"label": {"a": 28, "b": 30, "A": 1}}


def test_a_table_for_people_and_a_file_for_programs(report, tmp_path):
    output = io.StringIO()
    shown.print_report(Console(file=output, width=120), report)
    text = output.getvalue()
    assert "60 rows, 5 of them broken" in text
    assert "duplicated file" in text
    assert "50.8%" in text
    shown.write_report(tmp_path / "check.jsonl", report)
    found = [json.loads(row) for row in (tmp_path / "check.jsonl").read_text().splitlines()]
    assert found[0] == {"rows": 60, "broken": 5}
    assert {"finding": "broken", "column": "photo", "count": 3} in found
    assert sum("where" in row for row in found) == len(report.findings)


def test_nothing_wrong_is_nothing_found():
    table = open_table({"x": [1.5, 2.5, 3.5], "y": ["a", "b", "c"]})
    found = checking.check(table, infer_columns(table), {})
    assert (found.totals, found.findings, found.broken) == ({}, (), 0)


def test_of_a_kind_only_the_first_are_listed_and_all_counted(monkeypatch):
    monkeypatch.setattr(checking, "MAX_LISTED", 5)
    table = open_table({"x": [1.5, 2.5] + [None] * 30, "y": list(range(32))})
    found = checking.check(table, infer_columns(table), {})
    assert found.totals == {("missing", "x"): 30}
    assert len(found.findings) == 5
