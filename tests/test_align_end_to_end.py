"""Whole runs of embeddings, `configs/align.py:tiny`, and of many labels, `fusion.py:tags`."""

import json

import numpy as np
import pytest

import mmjax
from mmjax.data.datasets.controlled import controlled
from mmjax.data.datasets.digit_halves import digit_halves
from mmjax.errors import UserError
from mmjax.metrics.dataset_metrics import multilabel_precision_recall_f1
from mmjax.metrics.retrieval import retrieval
from mmjax.train.reporting.writers import read_metrics
from tests.commands import ROOT, run

ALIGN = f"--config={ROOT}/configs/align.py:tiny"
TAGS = f"--config={ROOT}/configs/fusion.py:tags"


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "aligned"
    out, _ = run("mmjax.main", ALIGN, f"--workdir={workdir}")
    return workdir, out


def test_halves_of_digits_find_each_other(aligned):
    workdir, out = aligned
    last = read_metrics(workdir)[-1]
    assert last["test/recall_at_10"] > 0.6  # of 300: chance is 0.033
    assert last["test/recall_at_10/upper_to_lower"] > 0.6
    assert "majority class" not in out
    assert "recall_at_10" in out
    assert (workdir / "curves.png").exists()
    assert not (workdir / "confusion.png").exists()


def test_the_loaded_model_embeds_what_it_was_tested_on(aligned):
    workdir, _ = aligned
    model, test = mmjax.load(workdir), digit_halves()["test"]
    rows = {name: list(test.values[name]) for name in ("lower", "upper")}
    embeddings = model.embed(**rows)
    np.testing.assert_allclose(np.linalg.norm(embeddings["upper"], axis=1), 1, rtol=1e-5)
    found = retrieval(embeddings["lower"], embeddings["upper"], names=("lower", "upper"))
    last = read_metrics(workdir)[-1]
    for name, value in found.items():
        assert value == pytest.approx(last[f"test/{name}"], abs=0.004), name
    alone = model.embed(upper=rows["upper"][:3])
    assert alone.keys() == {"upper"}
    np.testing.assert_allclose(alone["upper"], embeddings["upper"][:3], atol=1e-5)
    absent = model.embed(upper=[rows["upper"][0], None])["upper"]
    assert (absent[1] == 0).all()
    for call in (model, model.probabilities):
        with pytest.raises(UserError, match=r"does not predict probabilities; use embed\(...\)"):
            call(upper=rows["upper"][0])


def test_it_resumes_and_says_it_is_finished(aligned):
    workdir, _ = aligned
    before = read_metrics(workdir)
    out, _ = run("mmjax.main", ALIGN, f"--workdir={workdir}")
    assert "is finished; testing again" in out
    assert read_metrics(workdir) == before


def test_an_output_that_there_is_not_is_one_line(tmp_path):
    (tmp_path / "own.py").write_text(
        "import runpy\n"
        "def get_config(variant):\n"
        f"    made = runpy.run_path({str(ROOT / 'configs' / 'align.py')!r})\n"
        "    config = made['get_config'](variant)\n"
        "    config.losses.info_nce.a, config.losses.info_nce.b = 'embedding/uper', 'label'\n"
        "    return config\n"
    )
    options = (f"--config={tmp_path}/own.py:tiny", f"--workdir={tmp_path}/run")
    _, err = run("mmjax.main", *options, expect=2)
    assert len(err.splitlines()) == 1
    assert "nothing is called 'embedding/uper'; did you mean 'embedding/upper'" in err


def test_many_labels_are_tuned_stored_and_predicted(tmp_path):
    workdir = tmp_path / "tags"
    run("mmjax.main", TAGS, f"--workdir={workdir}")
    last = read_metrics(workdir)[-1]
    assert last["test/exact_match/complete"] > 0.8  # 0.885 of all three symbols are shown
    stored = np.float32(json.loads((workdir / "tuned.json").read_text())["thresholds"])
    assert stored.shape == (5,)
    assert not (stored == 0.5).all()
    test = controlled(task="tags")["test"]
    rows = {name: list(test.values[name][:1024]) for name in "abc"}  # complete
    model = mmjax.load(workdir)
    probabilities = model.probabilities(**rows)
    found = multilabel_precision_recall_f1(
        probabilities, test.targets["tags"].values[:1024], stored
    )
    assert found["f1_micro"] == pytest.approx(last["test/f1_micro/complete"], abs=1e-4)
    answers = model(**rows)
    for row, answer in zip(probabilities, answers, strict=True):
        names = {model.labels[i] for i in np.flatnonzero(row >= stored)}
        assert {a["answer"] for a in answer} == names
        values = [a["probability"] for a in answer]
        assert values == sorted(values, reverse=True)
    assert len(model(top=1, **rows)[0]) <= 1
    # Counted once, and what a restart reads.
    counts = json.loads((workdir / "class_counts.json").read_text())
    train = controlled(task="tags")["train"].targets["tags"].values
    assert counts == {"classes": train.sum(0).tolist(), "examples": len(train)}


# A config of a user's own, with all that helps against rare classes and a penalty that fades in.
OWN = f"""
import runpy
from ml_collections import ConfigDict

def get_config(variant):
    made = runpy.run_path({str(ROOT / "configs" / "fusion.py")!r})
    config = made["get_config"](variant)
    config.losses = ConfigDict({{
        "cross_entropy": {{"class_weights": "effective_number", "label_smoothing": 0.1}},
        "pull": {{"name": "info_nce", "temperature": 0.5,
                 "weight": {{"name": "linear", "start": 0.0, "end": 0.2, "steps": 20}}}},
    }})
    del config.metrics  # a tuple
    config.metrics = ConfigDict({{
        "accuracy": {{}}, "top": {{"name": "top_k", "k": 2}}, "roc_auc": {{}},
        "precision_recall_f1": {{"average": ("macro",)}},
    }})
    config.mixup = 0.5
    config.data.resample = "square_root"
    config.train.steps, config.train.log_every, config.train.eval_every = 20, 10, 20
    return config
"""


def test_a_recipe_of_ones_own_logs_all_that_it_names(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    workdir = tmp_path / "run"
    run("mmjax.main", f"--config={tmp_path}/own.py:tiny", f"--workdir={workdir}")
    records = read_metrics(workdir)
    training = [r for r in records if "train/loss" in r]
    assert [r["train/weight/pull"] for r in training] == pytest.approx(
        [0.2 * 9 / 20, 0.2 * 19 / 20]
    )
    for pair in ("a-b", "a-c", "b-c"):
        assert f"train/pull/{pair}" in training[-1]
        assert f"val/pull/{pair}/complete" in training[-1]
    assert {"test/accuracy", "test/top", "test/roc_auc", "test/f1_macro"} <= records[-1].keys()
    assert records[-1]["test/top"] == 1.0  # of two classes
    total = training[-1]["train/loss"]
    assert total > training[-1]["train/cross_entropy"]
    assert mmjax.load(workdir)(a=np.zeros(16, np.float32))[0]["answer"] in ("0", "1")
