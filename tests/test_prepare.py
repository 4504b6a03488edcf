import json

import pytest

from mmjax import cli, prepare
from mmjax.data.tables.opening import open_table
from tests.data.own.readers import mp4, png, wav


def run(*arguments):
    try:
        cli.run(prepare.main, ["mmjax-prepare", *map(str, arguments)])
    except SystemExit as end:
        return end.code
    return 0


@pytest.fixture
def path(tmp_path):
    lines = ["photo,sound,label"]
    for i in range(30):
        (tmp_path / f"{i}.png").write_bytes(png(i))
        (tmp_path / f"{i}.wav").write_bytes(wav(i + 1))
        lines.append(f"{i}.png,{i}.wav,{'ab'[i % 2]}")
    (tmp_path / "a.csv").write_text("\n".join(lines))
    return tmp_path / "a.csv"


def test_a_table_is_shown_written_and_found_damaged_later(path, tmp_path, capsys):
    pytest.importorskip("array_record")
    out = tmp_path / "out"
    assert run(path, out, "--processes=1") == 0
    said = capsys.readouterr().out
    assert "a.csv: 30 rows" in said
    assert "30/30 rows" in said
    assert "wrote 30 rows" in said
    assert len(open_table(out)) == 30
    assert (out / "SHA256SUMS").exists()
    assert run(path, out, "--processes=1") == 0
    (shard,) = out.glob("*.array_record")
    data = bytearray(shard.read_bytes())
    data[200] ^= 1
    shard.write_bytes(data)
    assert run(path, out) == 2
    assert "is not what was written; delete it and start again" in capsys.readouterr().err


def test_a_check_decodes_videos(tmp_path, capsys):
    video = mp4(8)
    (tmp_path / "whole.mp4").write_bytes(video)
    (tmp_path / "cut.mp4").write_bytes(video[: len(video) // 2])
    (tmp_path / "a.csv").write_text("film,label\nwhole.mp4,a\ncut.mp4,b\n")
    report = tmp_path / "found.jsonl"
    assert run(tmp_path / "a.csv", "--check", f"--report={report}") == 2
    assert "1 of 2 rows are broken" in capsys.readouterr().err
    assert "cut.mp4" in report.read_text()
    assert "whole.mp4" not in report.read_text()


def test_a_check_decodes_pictures_and_sounds_wherever_they_are(path, tmp_path, capsys, monkeypatch):
    pytest.importorskip("array_record")
    monkeypatch.chdir(tmp_path)
    assert run(path, tmp_path / "out", "--processes=1") == 0
    for source in (path, tmp_path / "out"):
        assert run(source, "--check") == 0
        assert "30 rows, 0 of them broken" in capsys.readouterr().out
    (tmp_path / "3.png").write_bytes(png(3)[:50])
    (tmp_path / "4.wav").write_bytes(b"RIFF....WAVEno")
    assert run(path, "--check", "--report=found.jsonl") == 2
    caught = capsys.readouterr()
    assert "2 of 30 rows are broken" in caught.err
    assert len(caught.err.strip().splitlines()) == 1
    found = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [row["where"] for row in found if row.get("what") == "broken"] == [
        *("a.csv, line 5", "a.csv, line 6"),
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "give 2 paths"),
        (("a.csv",), "give 2 paths"),
        (("a.csv", "b", "--check"), "give 1 path: python -m mmjax.prepare SRC --check"),
        (("none.csv", "--check"), "none.csv: no such file"),
        (("a.csv", "--check", "--type=photo=imge"), "did you mean 'image'"),
        (("a.csv", "--check", "--type=foto=image"), "did you mean 'photo'"),
        (("a.csv", "out", "--type=label=image"), "its files are not found"),
    ],
)
def test_wrong_arguments_are_one_line(path, arguments, line, monkeypatch, capsys):
    monkeypatch.chdir(path.parent)
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert line in error
    assert len(error.strip().splitlines()) == 1
