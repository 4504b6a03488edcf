"""config.data.name = "mixture": several data sets train one model, each on its own tasks."""

import itertools
import json

import numpy as np
import pytest
from ml_collections import ConfigDict

from mmjax import cli, factory
from mmjax.errors import UserError
from mmjax.factory.mixture import mixture
from mmjax.factory.splits import Made, handling
from tests.commands import ROOT

XOR = {"name": "controlled", "task": "xor", "classes": 2, "train": 96, "test": 8}
SUM = {"name": "controlled", "task": "sum", "classes": 5, "train": 32, "test": 8}
PARTS = {
    "xor": XOR | {"targets": {"label": "odd", "total": "odd_total"}},
    "sum": SUM | {"weight": 3.0},
}


def config_of(**options):
    config = cli.load_config(f"{ROOT}/configs/fusion.py:tasks")
    config.data.name = "mixture"
    config.data.options = ConfigDict({"parts": PARTS, **options})
    config.data.batch_size = 16
    config.tasks.odd = ConfigDict({"name": "classification", "losses": ("cross_entropy",)})
    config.tasks.odd.target = "odd"
    config.train.monitor, config.train.mode = "val/label/accuracy", "max"
    config.train.steps, config.compilation_cache = 4, ""
    return config


@pytest.mark.parametrize("strategy", ["mixed", "alternating"])
def test_each_example_has_the_targets_of_its_own_data_set(strategy, tmp_path):
    config = factory.checked(config_of(strategy=strategy))
    _, experiment = factory.experiment(config, str(tmp_path / "run"))
    assert experiment.slices[0] == "sum complete"
    assert set(experiment.tasks) == {"label", "total", "odd"}
    data = experiment.train_data()
    batches = list(itertools.islice(data, 40))
    data.close()
    for batch in batches:
        of_xor = batch["targets/odd_mask"]
        np.testing.assert_array_equal(batch["targets/label_mask"], ~of_xor)
        np.testing.assert_array_equal(batch["targets/total_mask"], ~of_xor)
        assert batch["targets/odd"].max() < 2
        if strategy == "alternating":
            assert of_xor.all() or not of_xor.any()
    share = np.mean([batch["targets/odd_mask"].mean() for batch in batches])
    assert share == pytest.approx(0.5, abs=0.08)  # 96 rows against 3 times 32


def test_all_rows_of_all_parts_are_evaluated_once(tmp_path):
    _, experiment = factory.experiment(factory.checked(config_of()), str(tmp_path / "run"))
    found = sum(int(batch["_mask"].sum()) for batch in experiment.eval_data("test"))
    assert found == experiment.sizes["test"][1] == 2 * 4 * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": {}}, "parts is empty"),
        ({"parts": {"xor": XOR, "sum": SUM}}, "xor has a target 'label', too: rename one"),
        (
            {"parts": {"it": XOR | {"targets": {"lable": "x"}}}},
            "'lable'; did you mean 'label'",
        ),
        (
            {"parts": {"it": {"name": "shapes", "targets": {"lable": "x"}}}},
            "'lable'; did you mean 'label'",
        ),
        ({"parts": {"it": {"name": "controled"}}}, "did you mean 'controlled'"),
        ({"parts": PARTS, "strategy": "mixd"}, "did you mean 'mixed'"),
    ],
)
def test_what_cannot_be_mixed_is_one_line(options, message):
    with pytest.raises(UserError, match=message):
        mixture(**options)


def test_a_negative_weight_is_refused():
    split = mixture(parts=PARTS | {"sum": SUM | {"weight": -1.0}})["train"]
    config, made = factory.checked(config_of()), Made({}, {}, {})
    with pytest.raises(UserError, match="0 or more"):
        handling(split).examples(config, split, config.modalities, made, True)


def test_a_task_is_asked_of_a_slice_of_a_part(tmp_path):
    config = config_of()
    config.tasks.odd.slice = "xor complete"
    path, _ = factory.experiment(factory.checked(config), str(tmp_path / "run"))
    counts = json.loads((path / "class_counts.json").read_text())
    assert counts["odd"]["examples"] == 96  # training has that slice only
    assert counts["label"]["examples"] == 32
    split = mixture(parts=PARTS)["test"]
    names = np.array(split.slices)[handling(split).slice_ids(split, "odd")]
    np.testing.assert_array_equal(names == "xor complete", np.arange(32) < 8)


def with_questions(**data):
    """Questions about images beside rows of vectors."""
    config = cli.load_config(f"{ROOT}/configs/vqa.py:tiny")
    parts = {
        "asked": {"name": "shapes", "train": 8, "validation": 4, "test": 4, "image_size": 16},
        "xor": XOR | {"targets": {"label": "odd", "total": "odd_total"}},
    }
    parts["asked"]["targets"] = {"label": "answer"}
    config.modalities = ("image", "text", "a", "b", "c")
    config.data = ConfigDict({"name": "mixture", "options": {"parts": parts}, "text_length": 9})
    config.data.update({"image_size": 16, "shapes": dict.fromkeys("abc", (16,)), **data})
    vectors = {name: {"kind": "vector", "name": "mlp"} for name in "abc"}
    config.encoders = ConfigDict({**config.encoders, **vectors})
    task = {"name": "classification", "losses": ("cross_entropy",), "metrics": ("accuracy",)}
    names = ("answer", "odd")
    config.tasks = ConfigDict({name: {**task, "target": name} for name in names})
    for key in ("task", "losses", "metrics", "head", "augment"):
        del config[key]
    config.train.monitor, config.compilation_cache = "val/answer/accuracy", ""
    return factory.checked(config)


def test_questions_about_images_are_mixed_one_by_one(tmp_path):
    _, experiment = factory.experiment(with_questions(batch_size=16), str(tmp_path / "run"))
    for split in ("train", "test"):
        batches = experiment.train_data() if split == "train" else experiment.eval_data(split)
        found = list(itertools.islice(batches, 12))
        for batch in found:
            real, asked = batch["_mask"], batch["targets/answer_mask"]
            assert "image_index" not in batch
            np.testing.assert_array_equal(batch["image_mask"], asked)
            np.testing.assert_array_equal(batch["text_mask"].any(axis=1), asked)
            np.testing.assert_array_equal(batch["targets/odd_mask"], real & ~asked)
        assert any(batch["targets/answer_mask"].any() for batch in found)
    assert experiment.slices[:3] == ("asked yes_no", "asked color", "asked shape")
    questions = experiment.sizes["test"][1] - 4 * 8
    batches = experiment.eval_data("test")
    assert sum(int(batch["targets/answer_mask"].sum()) for batch in batches) == questions


def test_images_with_several_questions_each_are_not_mixed(tmp_path):
    config = with_questions(images_per_batch=4, questions_per_image=2)
    with pytest.raises(UserError, match=r"image_index. cannot be mixed: give config.data.batch_"):
        factory.experiment(config, str(tmp_path / "run"))


def tables(folder, colors=("red", "blue")):
    """Two tables: of numbers and a color, and of texts."""
    lines = [f"{i},{colors[i % 2]},{'ab'[i % 2]}" for i in range(40)]
    (folder / "a.csv").write_text("\n".join(["size,color,label", *lines]))
    lines = [f"some words of {i},{'xy'[i % 2]}" for i in range(40)]
    (folder / "b.csv").write_text("\n".join(["note,kind", *lines]))
    return {
        "a": {"name": "own", "files": str(folder / "a.csv"), "target": "label"},
        "b": {"name": "own", "files": str(folder / "b.csv"), "target": "kind"},
    }


def test_a_run_on_tables_keeps_their_columns(tmp_path):
    parts = tables(tmp_path)
    split = mixture(parts=parts)["train"]
    known = handling(split).columns(split)
    assert {name: [c.name for c in w.columns] for name, w in known.inputs.items()} == {
        "table": ["size", "color"],
        "note": ["note"],
    }
    assert not known.targets
    renamed = {**parts, "b": parts["b"] | {"targets": {"kind": "sort"}}}
    split = mixture(parts=renamed)["train"]
    assert handling(split).columns(split).inputs == known.inputs


def test_tables_whose_numbers_mean_different_things_are_one_line(tmp_path):
    (tmp_path / "more").mkdir()
    parts = tables(tmp_path)
    other = tables(tmp_path / "more", colors=("red", "green"))["a"]
    parts["c"] = other | {"targets": {"label": "more"}}
    split = mixture(parts=parts)["train"]
    with pytest.raises(UserError, match="'table' of c has other columns or words than that of"):
        handling(split).columns(split)
