"""A table of pictures, texts and numbers: trained, loaded, predicted and evaluated."""

import csv
import gc
import json
import shutil

import numpy as np
import pandas as pd
import PIL.Image
import pytest

import mmjax
from mmjax import convert, factory, main, predict
from mmjax.data.own import stored
from mmjax.errors import UserError
from mmjax.train.checkpoints import workdir as workdirs

ROWS = 60
KEYS = {
    "width": 16,
    "fusion": "concat",
    "compilation_cache": "",
    "data": {"image_size": 8, "batch_size": 8, "options": {"types": {"note": "text"}}},
    "encoders": {"photo": {"channels": (16, 16)}},
    "train": {"steps": 6, "eval_every": 3},
}


def make(folder, seed):
    """Rows, a fifth of whose cells are empty; each has some input."""
    generator = np.random.default_rng(seed)
    for i in range(ROWS):
        cat = i % 2 == 0
        color = (200 - i, 40, 40) if cat else (40, 40, 200 - i)
        pixels = np.full((8, 8, 3), color, np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{seed}_{i}.png")
        row = {
            "photo": f"{seed}_{i}.png",
            "note": f"{'soft meow' if cat else 'loud bark'} in the night of day {i}",
            "age": f"{generator.normal(3 if cat else 8):.2f}",
            "color": str(generator.choice(["red", "green"])),
        }
        row = {key: "" if generator.random() < 0.2 else value for key, value in row.items()}
        row["age"] = row["age"] if any(row.values()) else "5"
        yield {"id": f"row {i}", **row, "label": "cat" if cat else "dog"}


def write(path, rows):
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def arguments(keys, prefix="--config."):
    for key, value in keys.items():
        if isinstance(value, dict):
            yield from arguments(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={value}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    write(folder / "train.csv", make(folder, 0))
    write(folder / "new.csv", make(folder, 1))
    return folder


def start(folder, *more):
    files = f"--config.data.files={folder}/train.csv"
    given = ["--config=own:tiny", files, "--config.data.target=label", *arguments(KEYS)]
    main.main(["main", *given, f"--workdir={folder}/run", *more])


@pytest.fixture(scope="module")
def run(folder):
    start(folder, "--quiet")
    return folder / "run"


@pytest.fixture(scope="module")
def model(run):
    return mmjax.load(run)


def frame(folder, name="new.csv"):
    """As pandas reads it, with paths that are right here."""
    found = pd.read_csv(folder / name)
    found["photo"] = [f"{folder}/{p}" if isinstance(p, str) else None for p in found["photo"]]
    return found


def test_the_workdir_keeps_its_columns(run, model):
    known = stored.from_json(workdirs.read_json(run / workdirs.COLUMNS_FILE), "x")
    assert set(known.inputs) == {"photo", "note", "table"}
    assert [c.name for c in known.inputs["table"].columns][:2] == ["age", "color"]
    assert model.columns == known.inputs
    assert "columns.json" in (run / "SHA256SUMS").read_text()


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_file_of_predictions_is_what_the_predictor_says_of_a_frame(
    folder, run, model, ending, monkeypatch
):
    monkeypatch.setattr("mmjax.inference.rows.CHUNK", 7)
    monkeypatch.setattr("mmjax.inference.loading.load", lambda _: model)
    out = folder / f"out.{ending}"
    predict.main(["x", f"--workdir={run}", f"--inputs={folder}/new.csv", f"--output={out}"])
    found = {
        "csv": pd.read_csv,
        "tsv": lambda path: pd.read_csv(path, sep="\t"),
        "jsonl": lambda path: pd.read_json(path, lines=True),
        "parquet": pd.read_parquet,
    }[ending](out)
    given = pd.read_csv(folder / "new.csv")
    assert list(found.columns) == [*given.columns, "prediction", "probability"]
    assert list(found["id"]) == list(given["id"])
    answers = [best for best, *_ in model(frame(folder))]
    assert list(found["prediction"]) == [answer["answer"] for answer in answers]
    np.testing.assert_allclose(found["probability"], [a["probability"] for a in answers], 1e-5)
    assert found["prediction"].nunique() == 2


def test_a_row_is_the_same_however_it_is_given(folder, model):
    table = frame(folder)
    row = table[table.notna().all(axis=1)].iloc[0]
    expected = model(table[table["id"] == row["id"]])[0]
    cells = {"age": float(row["age"]), "color": row["color"]}
    vector = model.columns["table"].features.vector(cells).astype(np.float32)
    for given in (cells, json.dumps(cells), vector, json.dumps(vector.tolist())):
        found = model(photo=row["photo"], note=row["note"], table=given)
        assert [f["answer"] for f in found] == [e["answer"] for e in expected]
        np.testing.assert_allclose(
            [f["probability"] for f in found], [e["probability"] for e in expected], 1e-5
        )
    one = model(table={"age": 3, "color": None})
    assert one == model(table={"age": 3}) == model([{"age": 3}])[0] != model(table={"age": 9})
    with pytest.raises(UserError, match="table: no column 'colour'; did you mean 'color'"):
        model(table={"colour": "red"})


def test_evaluate_gives_the_numbers_of_the_test_split(folder, run, model):
    config = factory.stored_config(run)
    split = factory.sources(config)["test"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    reported = next(line for line in lines if "test/accuracy" in line)
    chosen = frame(folder, "train.csv").iloc[split.rows]
    found = model.evaluate(chosen)
    assert set(found) == {k[5:] for k in reported if k.startswith("test/")} - {"checkpoint"}
    for name, value in found.items():
        assert value == pytest.approx(reported[f"test/{name}"], rel=1e-4, abs=1e-6)
    wrong = chosen.assign(label=["dog" if x == "cat" else "cat" for x in chosen["label"]])
    assert model.evaluate(wrong)["accuracy"] == pytest.approx(1 - found["accuracy"])
    with pytest.raises(UserError, match="'label' holds 'fox', which the model does not know"):
        model.evaluate(chosen.assign(label="fox"))
    with pytest.raises(UserError, match="no column 'label'"):
        model.evaluate(chosen.drop(columns="label"))


def test_fit_is_what_the_command_line_does(folder, model):
    predictor = mmjax.fit(
        frame(folder, "train.csv"), target="label", config="own:tiny", quiet=True, **KEYS
    )
    table = frame(folder)
    np.testing.assert_allclose(predictor.probabilities(table), model.probabilities(table), 1e-4)
    directory = predictor.directory
    config = workdirs.read_json(directory / "config.json")
    assert config["data"]["files"] == f"in Python: a data frame of {ROWS} rows"
    with pytest.raises(UserError, match="a data frame of 60 rows.* call mmjax.fit again"):
        main.main(["main", f"--workdir={directory}"])
    assert directory.is_dir()
    del predictor
    gc.collect()
    assert not directory.exists()


def test_a_restart_with_other_data_says_which_column_changed(folder, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    for file in folder.glob("0_*.png"):
        shutil.copy(file, tmp_path)
    rows = list(make(folder, 0))
    write(tmp_path / "train.csv", [row | {"color": row["color"] and "blue"} for row in rows])
    config = factory.stored_config(run)
    splits = factory.sources(config, str(tmp_path / "train.csv"))
    with pytest.raises(UserError, match="column 'color': distinct was 2 and is 1"):
        factory.experiment(config, str(tmp_path / "run"), data=splits)
    (tmp_path / "run" / "columns.json").write_text("{}")
    with pytest.raises(UserError, match="columns.json is not what was written"):
        mmjax.load(tmp_path / "run")


def test_a_converted_model_takes_its_columns_along(run, model, tmp_path):
    convert.convert(run, tmp_path / "whole", "mmjax", None)
    assert mmjax.load(tmp_path / "whole").columns == model.columns
