"""Whole runs that write: `configs/speech.py:tiny`, and the default on recordings made here."""

import json

import numpy as np
import pytest
import soundfile

import mmjax
from mmjax.data.datasets.written_numbers import written_numbers
from mmjax.errors import UserError
from mmjax.metrics.text import character_error_rate, word_error_rate
from mmjax.train.reporting.writers import read_metrics
from tests.commands import ROOT, run

CONFIG = f"--config={ROOT}/configs/speech.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "ink"
    out, _ = run("mmjax.main", f"{CONFIG}:tiny", f"--workdir={workdir}")
    return workdir, out


def test_handwritten_numbers_are_read(trained):
    workdir, out = trained
    last = read_metrics(workdir)[-1]
    assert last["test/word_error_rate"] < 0.25  # nothing written: 1.0
    assert last["test/character_error_rate"] < 0.2
    assert last["test/too_short"] == 0
    assert "word_error_rate" in out
    assert "majority class" not in out
    labels = json.loads((workdir / "labels.json").read_text())
    assert labels == ["", " ", *"0123456789"]
    assert (workdir / "curves.png").exists()


def test_the_loaded_model_writes_what_it_was_tested_on(trained, tmp_path):
    workdir, _ = trained
    test = written_numbers(most=3, words=False)["test"]
    pairs = zip(test.values["ink"], test.masks["ink"], strict=True)
    rows = [row[: mask.sum()] for row, mask in pairs]
    model = mmjax.load(workdir)
    texts = model.transcribe(ink=rows)
    last, references = read_metrics(workdir)[-1], test.texts["text"]
    for metric in (word_error_rate, character_error_rate):
        expected = last[f"test/{metric.__name__}"]
        assert metric(references, texts) == pytest.approx(expected, abs=0.005)
    assert model.transcribe(ink=rows[0]) == texts[0]
    ((answer,),) = model(ink=rows[:1])
    assert answer["answer"] == texts[0]
    assert 0 < answer["probability"] <= 1
    assert model(ink=rows[0]) == [answer]
    assert model.transcribe(ink=[rows[0], None])[1] == ""
    for call in (model.probabilities, model.embed):
        with pytest.raises(UserError, match=r"does not predict .*; use transcribe\(...\)"):
            call(ink=rows[0])
    (tmp_path / "in.jsonl").write_text(json.dumps({"ink": rows[0].tolist()}))
    out, _ = run("mmjax.predict", f"--workdir={workdir}", f"--inputs={tmp_path}/in.jsonl")
    assert json.loads(out)["answers"][0]["answer"] == texts[0]


def test_a_finished_run_says_so(trained):
    workdir, _ = trained
    before = read_metrics(workdir)
    out, _ = run("mmjax.main", f"{CONFIG}:tiny", f"--workdir={workdir}")
    assert "is finished; testing again" in out
    assert read_metrics(workdir) == before


def test_speech_from_files_to_files(tmp_path):
    """The default config, small, on tones of two speakers; then it hears a file."""
    folder = tmp_path / "free-spoken-digit-dataset" / "recordings"
    folder.mkdir(parents=True)
    t = np.arange(1600) / 8000
    for speaker in ("anna", "george"):
        for digit in range(10):
            for take in range(11):
                tone = 0.3 * np.sin(2 * np.pi * (200 + 80 * digit + take) * t)
                soundfile.write(folder / f"{digit}_{speaker}_{take}.wav", tone, 8000)
    workdir = tmp_path / "run"
    small = {
        "data.dir": tmp_path,
        "data.options": "{'train': 16, 'validation': 4, 'test': 4}",
        "data.batch_size": 8,
        "encoders.speech.layers": 1,
        "width": 16,
        "train.steps": 2,
        "train.eval_every": 2,
        "optimizer.warmup_steps": 1,
    }
    options = [f"--config.{key}={value}" for key, value in small.items()]
    run("mmjax.main", CONFIG, f"--workdir={workdir}", *options)
    last = read_metrics(workdir)[-1]
    assert {"test/word_error_rate/known voice", "test/too_short/new voice"} <= last.keys()
    assert last["test/too_short"] == 0
    file = folder / "3_anna_0.wav"
    model = mmjax.load(workdir)
    sound, _ = soundfile.read(file, dtype="float32")
    texts = model.transcribe(speech=[str(file), sound, sound[:800]])
    assert texts[0] == texts[1]
    with pytest.raises(UserError, match="the model takes 28000: cut it"):
        model.transcribe(speech=np.zeros(28001, np.float32))
