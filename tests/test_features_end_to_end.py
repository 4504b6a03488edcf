"""Vectors and series in units of their own: training, evaluation and predictions see one scale."""

import json
import shutil

import numpy as np
import pytest
from rich.console import Console

import mmjax
from mmjax import cli, factory
from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError
from mmjax.factory.tables import names
from mmjax.train import run
from mmjax.train.host.signals import Interrupts
from tests.commands import ROOT

UNITS = np.array([1e-3, 1.0, 1e4, 1e4, 1.0, 0.0])  # the first two say the label
MISSING = 0.1


def split(name, size, seed):
    rng = np.random.default_rng(seed)
    row = rng.normal(size=(size, 6))
    log = rng.normal(size=(size, 4, 6))
    log[:, :, 0] += row[:, 0, None]
    there = rng.random(row.shape) >= MISSING
    there[:, :2] = True
    steps = rng.random(log.shape[:2]) >= MISSING
    row, log = row * UNITS + 5, log * UNITS + 5
    row[~there], log[~steps] = np.nan, np.nan
    values = {"row": row.astype(np.float32), "log": log.astype(np.float32)}
    labels = (row[:, 0] * 1e3 - 5e3 + row[:, 1] - 5 > 0).astype(np.int32)
    return Arrays(
        name=f"units/{name}",
        values=values,
        masks={"row": there, "log": steps},
        targets={"label": Target(labels, ("no", "yes"))},
        slice_ids=np.zeros(size, np.int32),
        slices=("all",),
    )


def units(*, seed: int = 0):
    sizes = {"train": 1024, "validation": 128, "test": 256}
    return {name: split(name, size, seed + i) for i, (name, size) in enumerate(sizes.items())}


def trained(directory, **data):
    """A workdir of a small run, and its accuracy on the test split."""
    config = cli.load_config(f"{ROOT}/configs/fusion.py:tiny")
    config.modalities = ("row", "log")
    config.data.name, config.data.options = "units", {}
    config.data.shapes = {"row": (6,), "log": (4, 6)}
    config.encoders = {
        "row": {"kind": "vector", "name": "mlp"},
        "log": {"kind": "series", "name": "mlp"},
    }
    config.metrics = ("accuracy",)
    config.train.monitor = "val/accuracy"
    config.train.steps, config.train.eval_every = 100, 100
    config.data.update(data)
    path, experiment = factory.experiment(config, str(directory))
    with Interrupts() as interrupts:
        run.train(experiment, path, Console(quiet=True), interrupts)
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return path, records[-1]["test/accuracy"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    before = dict(names.DATASETS)
    names.DATASETS["units"] = units
    folder = tmp_path_factory.mktemp("units")
    yield trained(folder / "scaled", scale_features=True), trained(folder / "raw")
    names.DATASETS.clear()
    names.DATASETS.update(before)


def rows_of(arrays, count=64):
    return {name: list(values[:count]) for name, values in arrays.values.items()}


def accuracy(model, arrays):
    found = model.probabilities(**rows_of(arrays, len(arrays))).argmax(axis=1)
    return np.mean(found == arrays.targets["label"].values)


def test_columns_of_small_units_are_learned(runs):
    (_, scaled), (_, raw) = runs
    assert scaled > 0.9
    assert scaled > raw + 0.1


def test_predictions_are_as_accurate_as_the_evaluation_said(runs):
    for path, said in runs:
        assert accuracy(mmjax.load(path), units()["test"]) == pytest.approx(said, abs=1e-6)


def test_a_run_without_scales_predicts_as_it_did(runs, tmp_path):
    (path, _), (raw, said) = runs
    assert (path / "scales.json").is_file()
    assert not (raw / "scales.json").exists()
    # As one that was trained before there were any: its config has no such key.
    old = shutil.copytree(raw, tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    del config["data"]["scale_features"]
    (old / "config.json").write_text(json.dumps(config))
    for sums in old.rglob("SHA256SUMS"):  # nor were there any of these
        sums.unlink()
    assert accuracy(mmjax.load(old), units()["test"]) == pytest.approx(said, abs=1e-6)
    for scaled in (True, False):  # a run that is resumed goes on as it began
        config["data"]["scale_features"] = scaled
        again = shutil.copytree(old, tmp_path / f"old {scaled}")
        _, experiment = factory.experiment(factory.as_config(config), str(again))
        batch = next(iter(experiment.eval_data("test")))
        assert np.abs(batch["row"]).max() > 1e3
    config["data"]["scale_features"] = False
    with pytest.raises(UserError, match=r"data.scale_features is True there and False here"):
        factory.experiment(factory.as_config(config), str(path))


def test_missing_numbers_may_be_told_in_several_ways(runs):
    model = mmjax.load(runs[0][0])
    rows = rows_of(units()["test"], 9)
    expected = model.probabilities(**rows)
    assert np.isfinite(expected).all()
    as_lists = {
        name: [np.where(np.isnan(x), None, x).tolist() for x in values]
        for name, values in rows.items()
    }
    masked = {name: list(map(np.ma.masked_invalid, values)) for name, values in rows.items()}
    stacked = {name: np.stack(values) for name, values in rows.items()}
    for given in (as_lists, masked, stacked):
        np.testing.assert_array_equal(model.probabilities(**given), expected)
    assert model(**stacked) == model(**rows)
    one = {name: values[0] for name, values in rows.items()}
    alone = model.probabilities(**one)
    np.testing.assert_allclose(alone, expected[:1], rtol=1e-5)
    assert isinstance(model(**one)[0], dict)
    # What is missing does not count, whatever stands in its place.
    full = rows["row"][0].copy()
    full[2] = np.nan
    other = np.ma.array(full, mask=np.isnan(full), copy=True)
    other.data[2] = 1e30
    np.testing.assert_array_equal(model.probabilities(row=full), model.probabilities(row=other))
    whole = rows["log"][0].copy()
    whole[1] = 5.0
    whole[1, 2] = np.nan
    with pytest.raises(UserError, match="input 2: log: step 1 lacks some of its numbers"):
        model(log=[rows["log"][1], whole])
    with pytest.raises(UserError, match="input 3: row: .*got .* inf"):
        model(row=[full, full, np.full(6, np.inf)])


def test_a_split_that_the_model_does_not_take_is_refused(runs, tmp_path):
    config = factory.as_config(json.loads((runs[0][0] / "config.json").read_text()))
    config.data.shapes = {"row": (6,), "log": (4, 5)}
    with pytest.raises(UserError, match=r"units/train: rows of 'log' have shape \[4, 6\]"):
        factory.experiment(config, str(tmp_path / "other"))
