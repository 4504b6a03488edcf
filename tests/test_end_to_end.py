"""Whole runs of `:tiny` through the command lines, in processes of their own."""

import json
import shutil
import signal

import jax
import numpy as np
import PIL.Image
import pytest

import mmjax
from mmjax.errors import UserError
from mmjax.models import data_parallel
from mmjax.train.reporting.writers import read_metrics
from tests.commands import ROOT, run, start
from tests.restart import assert_same_checkpoint

TINY = f"--config={ROOT}/configs/vqa.py:tiny"


def timeless(records):
    return [
        {k: v for k, v in r.items() if not k.endswith(("per_sec", "data_wait"))} for r in records
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The workdir of a finished `:tiny` run, and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    check = "import atexit; atexit.register(lambda: print('tensorflow' in sys.modules))"
    out, err = run("mmjax.main", TINY, f"--workdir={workdir}", prelude=check)
    return workdir, out, err


def test_tiny_learns_and_leaves_everything_a_person_wants(trained):
    workdir, out, err = trained
    last = read_metrics(workdir)[-1]
    assert last["test/accuracy"] > TINY_ACCURACY
    assert {"test/accuracy/yes_no", "test/accuracy/color", "test/accuracy/shape"} <= last.keys()
    names = {path.name for path in workdir.iterdir()}
    expected = {"config.json", "labels.json", "metrics.jsonl", "tokenizer.json", "checkpoints"}
    assert expected | {"curves.png", "confusion.png"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    for words in (
        "encoders_image",
        "Total:",
        "mesh: data 2",
        "3,600",
        "test set",
        "majority class",
    ):
        assert (words in out) == (words != "3,600"), words
    assert err == ""


# Majority class 0.37, text alone 0.67.
TINY_ACCURACY = 0.8


def test_tensorflow_is_never_imported(trained):
    assert trained[1].splitlines()[-1] == "False"


def test_a_finished_run_says_so_and_tests_again(trained):
    workdir = trained[0]
    before = read_metrics(workdir)
    out, _ = run("mmjax.main", TINY, f"--workdir={workdir}", devices=1)
    assert "is finished; testing again" in out
    assert f"{before[-1]['test/accuracy']:.5f}" in out
    assert read_metrics(workdir) == before


def test_evaluation_alone_gives_the_same_accuracy_on_any_number_of_devices(trained):
    workdir = trained[0]
    before = read_metrics(workdir)
    out, _ = run("mmjax.main", TINY, f"--workdir={workdir}", "--mode=eval", devices=8)
    assert f"{before[-1]['test/accuracy']:.5f}" in out
    assert read_metrics(workdir) == before


def test_predict_answers_without_data_set_and_config(trained, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(trained[0], moved)
    image = np.full((32, 32, 3), 250, np.uint8)
    image[8:24, 8:24] = (255, 0, 0)
    PIL.Image.fromarray(image).save(tmp_path / "red.png")
    model, question = mmjax.load(moved), "what color is the shape?"
    answers = model(image=image, text=question)
    assert answers[0]["answer"] == "red"
    assert model(image=str(tmp_path / "red.png"), text=question) == answers
    assert model(image=PIL.Image.fromarray(image), text=question) == answers
    both = model(image=[image, None], text=[question, question], top=13)
    assert [a["answer"] for a in both[0][:3]] == [a["answer"] for a in answers]
    assert sum(a["probability"] for a in both[1]) == pytest.approx(1, abs=1e-5)
    assert model.probabilities(image=[image] * 70, text=question).shape == (70, 13)
    assert model(image=[], text=[]) == []
    assert model(text="an entirely unknown sentence")[0]["answer"] in model.labels
    for wrong in ({}, {"audio": 1}, {"image": [image], "text": ["a", "b"]}, {"text": 3}):
        with pytest.raises(UserError):
            model(**wrong)

    line = {"image": "red.png", "text": question}
    (tmp_path / "in.jsonl").write_text(json.dumps(line) + "\n" + json.dumps({"text": question}))
    out, _ = run("mmjax.predict", f"--workdir={moved}", f"--inputs={tmp_path}/in.jsonl", "--top=2")
    first, second = map(json.loads, out.splitlines())
    assert [a["answer"] for a in first["answers"]] == [a["answer"] for a in answers[:2]]
    assert len(second["answers"]) == 2
    flags = [f"--image={tmp_path}/red.png", f"--text={question}"]
    out, _ = run("mmjax.predict", f"--workdir={moved}", *flags)
    assert json.loads(out)["answers"][0]["answer"] == "red"
    (tmp_path / "bad.png").write_text("no image")
    for name, words in (("bad.png", "not an image"), ("gone.png", "no such file")):
        _, err = run("mmjax.predict", f"--workdir={moved}", f"--image={tmp_path}/{name}", expect=2)
        assert len(err.splitlines()) == 1
        assert name in err
        assert words in err


def test_predictions_by_eight_devices_are_those_by_one(trained, monkeypatch):
    images = list(np.random.default_rng(0).integers(0, 256, (13, 32, 32, 3), np.uint8))
    given = {"image": [None, *images[1:]], "text": "what color is the shape?"}
    expected = mmjax.load(trained[0]).probabilities(**given)
    monkeypatch.setattr(data_parallel, "MIN_VALUES", 1)
    model = mmjax.load(trained[0])
    np.testing.assert_allclose(model.probabilities(**given), expected, atol=1e-5)
    assert model._apply._copies is not None


STEPS = "--config.train.steps=10"
EVERY = ["--config.train.log_every=1", "--config.train.eval_every=0"]
SAVE = [*EVERY, "--config.train.checkpoint_every=5"]
KILL = (
    "import os, signal, time, pathlib; from mmjax.data.pipeline import loader as p;"
    "saved = pathlib.Path(sys.argv[-2].partition('=')[2]) / 'checkpoints' / '5';"
    "old = p.BatchIterator.__next__; count = [0]\n"
    "def new(self):\n"
    "    count[0] += 1\n"
    "    while count[0] == 9:\n"
    "        if saved.exists(): os.kill(os.getpid(), signal.SIGKILL)\n"
    "        time.sleep(0.01)\n"
    "    return old(self)\n"
    "p.BatchIterator.__next__ = new\n"
)


# A config of a user's own, whose model has running statistics.
WITH_STATISTICS = f"""
import runpy
from ml_collections import ConfigDict

def get_config(variant):
    config = runpy.run_path({str(ROOT / "configs" / "vqa.py")!r})["get_config"](variant)
    options = {{"name": "resnet", "depth": 10, "channels": 8, "stem": "small", "output": "mean"}}
    config.encoders.image = ConfigDict(options)
    return config
"""


@pytest.fixture(params=["tiny", "statistics"])
def config(request, tmp_path):
    if request.param == "tiny":
        return TINY
    (tmp_path / "own.py").write_text(WITH_STATISTICS)
    return f"--config={tmp_path}/own.py:tiny"


def test_ten_steps_equal_five_a_kill_and_five_more_bit_for_bit(tmp_path, config):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run("mmjax.main", config, STEPS, *SAVE, f"--workdir={whole}")
    run("mmjax.main", config, STEPS, *SAVE, f"--workdir={parts}", expect=-9, prelude=KILL)
    assert read_metrics(parts)[-1]["step"] > 5  # written by steps that the resumed run does again
    out, _ = run("mmjax.main", config, STEPS, *SAVE, f"--workdir={parts}")
    assert "found a checkpoint at step 5" in out
    assert timeless(read_metrics(parts)) == timeless(read_metrics(whole))
    state = assert_same_checkpoint(parts, whole, 10)
    assert len(jax.tree.leaves(state)) > 20
    if config != TINY:
        assert_loaded_with_statistics(parts, state["model_state"]["batch_stats"])


def assert_loaded_with_statistics(workdir, statistics):
    """The loaded model has them, and answers by them."""
    model = mmjax.load(workdir)
    loaded = model.variables["batch_stats"]
    jax.tree.map(np.testing.assert_array_equal, loaded, statistics)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    answered = model.probabilities(image=image, text="is there a circle?")
    model.variables = model.variables | {"batch_stats": jax.tree.map(np.ones_like, statistics)}
    other = model.probabilities(image=image, text="is there a circle?")
    assert np.abs(answered - other).max() > 1e-4


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_next_start_goes_on(tmp_path, signum, code):
    process = start("mmjax.main", TINY, *EVERY, f"--workdir={tmp_path}/run")
    seen = ""
    while not (tmp_path / "run" / "metrics.jsonl").exists() or not read_metrics(tmp_path / "run"):
        assert process.poll() is None, process.communicate()
        signal.sigtimedwait([], 0.1)
    process.send_signal(signum)
    out, err = process.communicate(timeout=120)
    seen = out + err
    assert process.returncode == code, seen
    assert f"{signal.Signals(signum).name}: saved at step" in seen
    steps = [int(p.name) for p in (tmp_path / "run" / "checkpoints").iterdir()]
    assert steps == [read_metrics(tmp_path / "run")[-1]["step"]]


def test_a_workdir_of_two_devices_goes_on_with_one_and_with_eight(tmp_path):
    options = [TINY, "--config.train.steps=6", *SAVE, "--config.train.keep=2"]
    run("mmjax.main", *options, f"--workdir={tmp_path}/two")
    for count in (1, 8):
        workdir = tmp_path / str(count)
        shutil.copytree(tmp_path / "two", workdir)
        shutil.rmtree(workdir / "checkpoints" / "6")
        out, _ = run("mmjax.main", *options, f"--workdir={workdir}", devices=count)
        assert "found a checkpoint at step 5" in out
        expected, got = read_metrics(tmp_path / "two")[5], read_metrics(workdir)[5]
        assert got["step"] == 6
        assert got["train/loss"] == pytest.approx(expected["train/loss"], rel=1e-5)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_one_modality_alone_trains_through_the_same_code(tmp_path, modality):
    options = [TINY, f"--config.modalities=('{modality}',)", "--config.train.steps=3"]
    out, _ = run("mmjax.main", *options, f"--workdir={tmp_path}/run")
    other = {"image": "text", "text": "image"}[modality]
    assert f"encoders_{modality}" in out
    assert f"encoders_{other}" not in out
    model = mmjax.load(tmp_path / "run")
    assert model.modalities == (modality,)


def test_a_loss_that_is_not_finite_ends_the_run_with_one_line(tmp_path):
    options = [TINY, "--config.optimizer.learning_rate=1e38", "--config.optimizer.warmup_steps=0"]
    _, err = run("mmjax.main", *options, f"--workdir={tmp_path}/run", expect=2)
    assert len(err.splitlines()) == 1
    assert "10 steps in a row" in err
    assert "learning_rate" in err
