"""A whole run on arrays in memory: `configs/fusion.py:tiny` through the command lines."""

import json

import numpy as np
import pytest

import mmjax
from mmjax.data.datasets.controlled import bayes_accuracy, controlled
from mmjax.errors import UserError
from mmjax.train.reporting.writers import read_metrics
from tests.commands import ROOT, run

TINY = f"--config={ROOT}/configs/fusion.py:tiny"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "fusion"
    run("mmjax.main", TINY, f"--workdir={workdir}")
    return workdir


def test_tiny_learns_parity_as_far_as_it_can_be_known(trained):
    last = read_metrics(trained)[-1]
    best = bayes_accuracy("xor", classes=2, flip=0.05)
    # Three standard deviations of the accuracy on 1,024 examples; chance is 0.5.
    assert abs(last["test/accuracy/complete"] - best) < 3 * np.sqrt(best * (1 - best) / 1024)
    assert abs(last["test/accuracy/without b"] - 0.5) < 0.06


def test_a_finished_run_says_so(trained):
    out, _ = run("mmjax.main", TINY, f"--workdir={trained}")
    assert "is finished; testing again" in out


def test_predict_takes_arrays_and_any_subset(trained, tmp_path):
    test = controlled(task="xor", classes=2, flip=0.05, missing=0.1)["test"]
    model = mmjax.load(trained)
    rows = {name: list(test.values[name][:64]) for name in "abc"}
    answers = [answer[0]["answer"] for answer in model(**rows)]
    correct = np.mean(
        [int(a) == label for a, label in zip(answers, test.targets["label"].values, strict=False)]
    )
    assert correct > 0.8
    assert len(model(a=rows["a"][0], c=rows["c"][0])) == 2
    with pytest.raises(UserError, match=r"a: expected float32 numbers of shape \[16\]"):
        model(a=[1.0, 2.0])

    line = {name: rows[name][0].tolist() for name in "abc"}
    (tmp_path / "in.jsonl").write_text(json.dumps(line))
    out, _ = run("mmjax.predict", f"--workdir={trained}", f"--inputs={tmp_path}/in.jsonl")
    assert json.loads(out)["answers"][0]["answer"] == answers[0]
