"""Cross-validation: every row is tested once, by a model that was not trained on it."""

import csv
import json

import numpy as np
import pytest

import mmjax
from mmjax import main
from mmjax.errors import UserError
from mmjax.inference.folds import SCORES_FILE

ROWS, FOLDS = 80, 2
ARGUMENTS = ["main", "--config=own:tiny", f"--config.data.folds={FOLDS}", "--quiet"]
KEYS = ["--config.data.target=label", "--config.train.baselines=False", "--config.train.steps=80"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A label that the number says, but for a row without any."""
    folder = tmp_path_factory.mktemp("folds")
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "size", "label"])
        for i in range(ROWS):
            writer.writerow([f"row {i}", f"{i % 7 - 3}.5", "big" if i % 7 > 3 else "small"])
    return folder


def start(folder, *more):
    files = f"--config.data.files={folder}/train.csv"
    columns = "--config.data.columns={'table': ('size',)}"
    main.main([*ARGUMENTS, files, columns, *KEYS, f"--workdir={folder}/run", *more])


@pytest.fixture(scope="module")
def run(folder):
    start(folder)
    return folder / "run"


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_are_of_the_model_that_did_not_see_the_row(folder, run):
    given, found = rows_of(folder / "train.csv"), rows_of(run / "out_of_fold.csv")
    assert len(found) == ROWS
    assert list(found[0]) == ["fold", "prediction", "probability"]
    correct = [g["label"] == f["prediction"] for g, f in zip(given, found, strict=True)]
    folds = np.array([int(row["fold"]) for row in found])
    scores = json.loads((run / SCORES_FILE).read_text())
    for fold in range(FOLDS):
        model = mmjax.load(run / f"fold_{fold}")
        own = np.flatnonzero(folds == fold)
        assert 0 < len(own) < ROWS
        assert np.mean(np.array(correct)[own]) == pytest.approx(scores["accuracy"][fold])
        said = model([{"size": float(given[i]["size"])} for i in own])
        assert [best["answer"] for best, *_ in said] == [found[i]["prediction"] for i in own]
    assert np.mean(correct) > 0.8  # the larger class has 0.58


def test_finished_folds_are_not_trained_again(folder, run):
    before = {path: path.read_bytes() for path in run.rglob("metrics.jsonl")}
    assert len(before) == FOLDS
    start(folder)
    start(folder, "--mode=eval")
    assert {path: path.read_bytes() for path in run.rglob("metrics.jsonl")} == before


def test_in_python_it_is_the_same(folder, run):
    table = {
        "size": np.array([float(row["size"]) for row in rows_of(folder / "train.csv")]),
        "label": np.array([row["label"] for row in rows_of(folder / "train.csv")]),
    }
    found = mmjax.cross_validate(
        *(table,),
        folds=FOLDS,
        target="label",
        config="own:tiny",
        quiet=True,
        train={"steps": 80, "baselines": False},
    )
    assert found.scores["accuracy"] == json.loads((run / SCORES_FILE).read_text())["accuracy"]
    said = [row["prediction"] for row in rows_of(run / "out_of_fold.csv")]
    assert [row["prediction"] for row in found.predictions] == said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=vqa:tiny", "--config.data.folds=3"], "'shapes' has splits of its own"),
        (["--config=own:tiny", "--config.data.folds=1"], "folds=1: give 2 or more"),
        (["--config=own:tiny", "--config.data.folds=97"], "97 folds of 96 rows: give 2 to 96"),
        (
            ["--config=own:tiny", "--config.data.folds=3", "--config.data.options.folds=3"],
            "one run of a fold",
        ),
    ],
)
def test_what_has_no_folds_is_refused_in_one_line(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        main.main(["main", *arguments, f"--workdir={tmp_path}"])


def test_fit_trains_once():
    with pytest.raises(UserError, match=r"call mmjax.cross_validate\(data, folds=5"):
        mmjax.fit({"a": np.arange(9.0)}, target="a", data={"folds": 3})
