"""Tables of inputs: files of predictions, what a bad row does, and what several tasks write."""

import json
import os
import signal

import numpy as np
import pytest

from mmjax import cli, predict
from mmjax.errors import UserError
from mmjax.inference import outputs, rows
from mmjax.tasks.answers import ALL_CLASSES, ONE_CLASS, ONE_NUMBER
from tests.inference.test_predict_files import Model

GOOD, BAD = "good,,7", "bad,,8"
COMMON = ["predict", "--workdir=x"]


@pytest.fixture(autouse=True)
def model(monkeypatch):
    model = Model()
    monkeypatch.setattr("mmjax.inference.loading.load", lambda _: model)
    monkeypatch.setattr("mmjax.inference.rows.CHUNK", 2)
    return model


def write(folder, *lines, name="in.csv", head="text,image,id"):
    (folder / name).write_text("\n".join((head, *lines)) + "\n")
    return f"--inputs={folder / name}"


def start(*arguments, code=0):
    if not code:
        return cli.run(predict.main, [*COMMON, *arguments])
    with pytest.raises(SystemExit) as end:
        cli.run(predict.main, [*COMMON, *arguments])
    assert end.value.code == code
    return None


@pytest.mark.parametrize("bad", [BAD, "good,7", ",,9"])
def test_a_bad_row_stops_or_is_left_empty(tmp_path, capsys, caplog, bad):
    given = write(tmp_path, GOOD, GOOD, GOOD, bad, GOOD)
    out = tmp_path / "out.csv"
    start(given, f"--output={out}", "--on_error=skip")
    lines = out.read_text().splitlines()
    assert lines[0] == "text,image,id,prediction"
    assert len(lines) == 6
    assert [line.endswith(",") for line in lines[1:]] == [False, False, False, True, False]
    assert "in.csv, line 5: " in caplog.text
    assert "1 of 5 rows could not be answered; they have no prediction" in caplog.text
    assert "5/5 rows" in capsys.readouterr().err

    start(given, f"--output={out}", code=2)
    assert out.read_text().splitlines() == lines[:4]  # the rows before it
    (told,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("mmjax:")]
    assert "in.csv, line 5: " in told
    write(tmp_path, bad)
    start(given, f"--output={out}", "--on_error=skip", code=2)


def test_a_table_without_output_gives_json_lines(tmp_path, capsys):
    start(write(tmp_path, GOOD, GOOD, GOOD))
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["answers"][0]["answer"] for row in found] == [4, 4, 4]
    assert found[0]["id"] == "7"


def test_paths_are_relative_to_the_file_and_numbers_are_json(tmp_path, model):
    lines = ['a.png,"[1, null]"', "/b.png,c.npy", ',"[2]"']
    start(write(tmp_path, *lines, head="image,numbers"), f"--output={tmp_path}/out.jsonl")
    assert [row["image"] for row in model.seen] == [f"{tmp_path}/a.png", "/b.png", None]
    assert [row["numbers"] for row in model.seen] == ["[1, null]", f"{tmp_path}/c.npy", "[2]"]


def test_what_cannot_be_is_one_line(tmp_path, capsys):
    given = write(tmp_path, GOOD)
    for arguments, words in (
        ([given, f"--output={tmp_path}/in.csv"], "is the file of --inputs: choose another"),
        ([given, f"--output={tmp_path}/out.xls"], "write a file that ends in .csv"),
        ([f"--output={tmp_path}/out.csv", "--text=x"], "give --inputs=FILE"),
        (["--inputs=-", f"--output={tmp_path}/out.csv"], "give --inputs=FILE"),
        ([write(tmp_path, "1", name="b.csv", head="texts"), "--output=b"], "did you mean 'texts'"),
        ([write(tmp_path, "1,2", name="c.csv", head="text,prediction"), "--output=c"], "rename it"),
        ([f"--inputs={tmp_path}/lost.csv", f"--output={tmp_path}/o.csv"], "no such file"),
    ):
        start(*arguments, code=2)
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line


def test_a_column_that_is_missing_is_told(tmp_path, caplog):
    start(write(tmp_path, "good", head="text"), f"--output={tmp_path}/out.csv")
    assert "in.csv: no column 'image': it is missing in all rows" in caplog.text


def test_a_signal_leaves_whole_rows(tmp_path, model):
    respond = model.respond

    def killed(given, *, top=None):
        if len(model.seen) >= 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return respond(given, top=top)

    model.respond = killed
    out = tmp_path / "out.csv"
    start(write(tmp_path, *[GOOD] * 9), f"--output={out}", code=143)
    assert out.read_text().splitlines() == ["text,image,id,prediction", *["good,,7,4"] * 4]


def test_what_is_said_of_a_row_has_a_column_for_each_thing():
    one, two = {"answer": "a", "probability": 0.5}, {"answer": "b", "probability": 0.25}
    several = outputs.of_answers({"x": ONE_CLASS, "y": ALL_CLASSES, "z": ONE_NUMBER})
    said = {"answers": {"x": [one, two], "y": [one, two], "z": [{"answer": 1.5}]}}
    expected = {
        "prediction_x": "a",
        "probability_x": 0.5,
        "prediction_y": "a|b",
        "probability_y": "0.5|0.25",
        "prediction_z": 1.5,
    }
    assert several.of(said) == expected
    assert list(several.types) == list(expected)
    assert several.of(said | {"answers": said["answers"] | {"y": []}})["prediction_y"] == ""
    found = outputs.of_embeddings(("a", "b"))
    assert found.of({"embeddings": {"a": [1.0]}}) == {"embedding_a": [1.0], "embedding_b": None}


def test_a_frame_with_a_row_that_cannot_be_used_names_it(model):
    given = [rows.Row("row 0: ", {"text": "a"}), rows.Row("row 1: ", {"texts": np.nan})]
    with pytest.raises(UserError, match="^row 1: nothing to predict from"):
        rows.of_modalities(given, model)
