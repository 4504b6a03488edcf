"""Files of inputs, line by line: what a line is, what comes back, and what a bad one does."""

import io
import json

import numpy as np
import pytest

from mmjax import cli, predict
from mmjax.errors import UserError
from mmjax.inference import outputs, zero_shot
from mmjax.tasks.answers import ONE_NUMBER

LINE_ENDS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"


class Model(zero_shot.ZeroShot):
    """Answers with the length of the text; its pictures are files that must exist."""

    modalities, files, arrays = ("image", "text", "numbers"), ("image",), ("numbers",)
    outputs = outputs.of_answers({"label": ONE_NUMBER})

    def __init__(self):
        self.seen = []

    def check(self, row):
        if row["text"] is not None and "bad" in row["text"]:
            raise UserError(f"text {row['text']!r} is bad")

    def respond(self, rows, *, top=None):
        for row in rows:
            self.check(row)
        self.seen += rows
        return [{"answers": [{"answer": len(row["text"] or ""), "top": top}]} for row in rows]


def written(capsys, content, folder, *, skip=False, model=None):
    """What is printed of a file, and the error at the end."""
    (folder / "in.jsonl").write_bytes(content)
    error = None
    try:
        rows = predict.read_lines(f"{folder}/in.jsonl")
        predict.write(rows, model or Model(), None, skip)
    except UserError as told:
        error = str(told)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()], error


def lines(*rows, end="\n"):
    return end.join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("inner", ["", *LINE_ENDS[:3]])
def test_only_line_feeds_end_lines(capsys, tmp_path, end, bom, inner):
    rows = [{"text": f"a{inner}b", "id": i} for i in range(3)]
    found, error = written(capsys, bom + lines(*rows, end=end) + b"\n\n", tmp_path)
    assert error is None
    assert [row | {"answers": row["answers"][0]["answer"]} for row in found] == [
        row | {"answers": 2 + len(inner)} for row in rows
    ]


def test_what_is_no_input_comes_back_and_numbers_do_not(capsys, tmp_path):
    given = {"id": 7, "text": "yes", "numbers": [1.0, None], "image": "a.png", "note": {"x": [1]}}
    model = Model()
    (found,), error = written(capsys, lines(given), tmp_path, model=model)
    assert error is None
    assert found.pop("answers") == [{"answer": 3, "top": None}]
    assert found == {"id": 7, "text": "yes", "image": "a.png", "note": {"x": [1]}}
    assert model.seen[0]["image"] == str(tmp_path / "a.png")
    assert model.seen[0]["numbers"] == [1.0, None]


GOOD = {"text": "good"}
BAD = {
    "not JSON": (b'{"text": ', "not JSON"),
    "no object": (b'[{"text": "x"}]', "not an object .* without"),
    "not UTF-8": (b'{"text": "\xff"}', "not UTF-8"),
    "nothing": (b'{"texts": "x"}', "give image or text or numbers; did you mean 'text'"),
    "null": (b'{"text": null}', "nothing to predict from"),
    "reserved": (b'{"text": "x", "answers": 3}', "'answers' is a name of what is written"),
    "an error of before": (b'{"text": "x", "error": "y"}', "'error' is a name of what is"),
    "unreadable": (b'{"text": "bad"}', "text 'bad' is bad"),
    "nested too deep": (b"[" * 100_000, "not JSON|not an object"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_stops_or_is_skipped(capsys, tmp_path, name, caplog, monkeypatch):
    monkeypatch.setattr("mmjax.inference.rows.CHUNK", 2)
    bad, words = BAD[name]
    content = b"\n".join([lines(GOOD), b"", lines(GOOD), lines(GOOD), bad, lines(GOOD)])
    found, error = written(capsys, content, tmp_path)
    assert len(found) == 3  # all before it
    with pytest.raises(UserError, match=f"in.jsonl, line 5: .*{words}"):
        raise UserError(error)
    assert "\n" not in error

    found, error = written(capsys, content, tmp_path, skip=True)
    assert error is None
    assert ["error" in row for row in found] == [False, False, False, True, False]
    with pytest.raises(UserError, match=f"in.jsonl, line 5: .*{words}"):
        raise UserError(found[3]["error"])
    assert "answers" not in found[3]
    assert "1 of 5 lines could not be answered" in caplog.text

    found, error = written(capsys, bad + b"\n" + bad, tmp_path, skip=True)
    assert len(found) == 2
    assert error == "2 of 2 lines could not be answered; each has an 'error'"


def test_a_key_that_may_be_a_slip_is_told_once(capsys, tmp_path, caplog):
    rows = [{"text": "a", "imgae": "x", "id": 1}] * 3
    found, _ = written(capsys, lines(*rows), tmp_path)
    assert [row["imgae"] for row in found] == ["x"] * 3
    assert caplog.text.count("did you mean 'image'") == 1
    assert "'id'" not in caplog.text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_other_encodings_are_refused(capsys, tmp_path, encoding):
    content = ("\ufeff" if encoding.endswith("be") else "") + '{"text": "a"}\n'
    found, error = written(capsys, content.encode(encoding), tmp_path, skip=True)
    assert not found
    assert "in UTF-16: save it in UTF-8" in error


def test_answers_come_in_order_while_lines_are_read(capsys, monkeypatch):
    monkeypatch.setattr("mmjax.inference.rows.CHUNK", 2)
    printed = []

    def rows():
        for i in range(5):
            printed.append(len(capsys.readouterr().out.splitlines()))
            yield predict.Row("", {"text": "x" * i})

    predict.write(rows(), Model(), 2, False)
    assert printed == [0, 0, 2, 0, 2]


def test_a_model_whose_input_has_a_reserved_name_is_refused():
    model = Model()
    model.modalities = ("answers",)
    with pytest.raises(UserError, match="input 'answers' has a name of what is written"):
        predict.write([], model, None, True)


def test_lines_may_come_from_stdin(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "a\xe2\x80\xa8b"}\n')))
    (row,) = predict.read_lines("-")
    assert row == ("-, line 1: ", {"text": "a\u2028b"}, "", "")


def test_arrays_with_one_axis_more_are_several_inputs():
    x = np.zeros((4, 3))
    assert zero_shot.several(x, 2) is None
    for many, axes in ((x, 1), (np.array(["a", "b"]), 0), (np.array([None, "a.png"]), 3), ([1], 3)):
        found = zero_shot.several(many, axes)
        assert len(found) == len(many)
    row = np.array([1.0, None])
    for one, axes in ((x, 3), ("text", 0), (np.str_("text"), 0), (row, 1), (3, 0)):
        assert zero_shot.several(one, axes) is None


def test_exit_codes(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("mmjax.inference.loading.load", lambda _: Model())
    for content, options, code in (
        (lines(GOOD, {"text": "bad"}), [], 2),
        (lines(GOOD, {"text": "bad"}), ["--on_error=skip"], 0),
        (lines({"text": "bad"}), ["--on_error=skip"], 2),
        (lines(GOOD), ["--on_error=ignore"], 2),
    ):
        (tmp_path / "in.jsonl").write_bytes(content)
        arguments = ["predict", "--workdir=x", f"--inputs={tmp_path}/in.jsonl", *options]
        if code:
            with pytest.raises(SystemExit) as end:
                cli.run(predict.main, arguments)
            assert end.value.code == code
            assert len(capsys.readouterr().err.splitlines()) == 1
        else:
            cli.run(predict.main, arguments)
            assert len(capsys.readouterr().out.splitlines()) == 2
