"""What data say of a config: it passes all checks, builds, and changes nothing that was set."""

import dataclasses
import json

import jax
import numpy as np
import PIL.Image
import pytest
from ml_collections import ConfigDict

from mmjax import factory
from mmjax.data.own.asked import subset
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError
from mmjax.factory.automatic import filled_by_data, task_of
from mmjax.factory.by_size import SIZES, size_of
from mmjax.factory.config.asked import asked
from mmjax.factory.config.typed import plain
from mmjax.factory.make_model import shape_of
from tests.data.own.readers import mp4, png, wav
from tests.interop import fakes

ROWS = 40
COLORS = ("red", "green", "blue")
KINDS = {
    "photo": "image",
    "clip": "audio",
    "film": "video",
    "note": "text",
    "steps": "series",
    "table": "vector",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "a.mp4").write_bytes(mp4(4))
    with (folder / "all.jsonl").open("w") as file:
        for i in range(ROWS):
            (folder / f"{i}.png").write_bytes(png(i))
            (folder / f"{i}.wav").write_bytes(wav(4000 + i))
            row = {
                "photo": f"{i}.png",
                "clip": f"{i}.wav",
                "film": "a.mp4",
                "note": f"it is the {i}th of many days",
                "steps": [[i, 1.5], [2.0, i]],
                "age": i * 1.5,
                "Main Color": COLORS[i % 3],
                "2nd": i * 0.25,
                "tags": f"{COLORS[i % 2]};{COLORS[i % 3]}",
                "born": f"19{i + 20}-07-20",
                "even": str(i % 2 == 0),
            }
            file.write(json.dumps(row) + "\n")
    return folder


def recipe(folder, target, inputs=None, **keys):
    data = {"name": "own", "files": str(folder / "all.jsonl"), "target": target}
    data |= ({} if inputs is None else {"columns": inputs}) | keys.pop("data", {})
    return ConfigDict({"data": data, **keys})


def filled(*args, **keys):
    return factory.filled(recipe(*args, **keys))[0]


def shapes(config):
    """Of what a checked config's model gives for one example."""
    config = factory.checked(config)
    factory.tasks(config)
    model = factory.model(config, classes=3, vocabulary_size=50)
    inputs = factory.example_inputs(config)
    return jax.eval_shape(lambda: model.init_with_output(jax.random.PRNGKey(0), inputs)[0])


@pytest.mark.parametrize("name", [*KINDS, tuple(KINDS)])
def test_each_kind_of_column_gives_a_config_that_builds(folder, name):
    names = (name,) if isinstance(name, str) else name
    read = {n: ("age", "born") if n == "table" else n for n in names}
    config = filled(folder, "Main Color", read)
    assert {n: spec["kind"] for n, spec in config.encoders.items()} == {n: KINDS[n] for n in names}
    assert shapes(config)["Main_Color"].shape == (1, 3)
    assert ("modality_dropout" in config) == (len(names) > 1)


@pytest.mark.parametrize(
    ("target", "kind", "monitor"),
    [
        ("Main Color", "classification", "val/accuracy"),
        ("tags", "multilabel", "val/exact_match"),
        ("age", "regression", "val/rmse"),
        ("born", "regression", "val/rmse"),
    ],
)
def test_the_type_of_a_target_says_the_task(folder, target, kind, monitor):
    config = filled(folder, target, {"note": "note"})
    ((name, task),) = asked(config).items()
    assert (name, task.kind) == (target.replace(" ", "_"), kind)
    assert task.get("target") == target
    assert config.train.monitor == monitor
    assert config.train.mode == ("min" if kind == "regression" else "max")
    assert name in shapes(config)


def test_two_classes_have_an_area_under_the_curve(folder):
    assert "roc_auc" in filled(folder, "even", {"note": "note"}).tasks.even.metrics
    assert "roc_auc" not in filled(folder, "Main Color", {"note": "note"}).tasks.Main_Color.metrics


def test_a_text_cannot_be_asked_for():
    with pytest.raises(UserError, match="a target of text: choose a recipe"):
        task_of(Target(["a b c"]), SIZES[0])


def test_several_targets_are_several_tasks(folder):
    config = filled(folder, ("Main Color", "2nd", "tags"), {"note": "note", "photo": "photo"})
    tasks = {name: (task.kind, task.get("target")) for name, task in asked(config).items()}
    assert tasks == {
        "Main_Color": ("classification", "Main Color"),
        "_2nd": ("regression", "2nd"),
        "tags": ("multilabel", "tags"),
    }
    assert config.train.monitor == "val/Main_Color/accuracy"
    assert tasks.keys() <= shapes(config).keys()


def test_no_target_and_two_modalities_are_aligned(folder):
    config = filled(folder, (), {"note": "note", "photo": "photo"})
    assert [task.kind for task in asked(config).values()] == ["alignment"]
    assert "fusion" not in config
    assert shapes(config)["embedding/note"].shape == shapes(config)["embedding/photo"].shape


def test_no_target_and_one_modality_is_one_line(folder):
    with pytest.raises(UserError, match=r"^all.jsonl/train: no target, and one modality only"):
        filled(folder, (), {"note": "note"})


def test_what_was_set_stays(folder):
    given = {
        "width": 24,
        "encoders": {"note": {"name": "bag_of_words", "layers": 2}, "photo": {"name": "vit"}},
        "fusion": {"name": "concat"},
        "losses": {"focal": {"gamma": 1.0}},
        "head": {"hidden": (8,)},
        "modality_dropout": 0.3,
        "optimizer": {"name": "sgd", "learning_rate": 0.5},
        "train": {"steps": 7, "monitor": "val/focal", "mode": "min"},
        "data": {"image_size": 8, "batch_size": 4, "shapes": {"note": (5,)}},
    }
    config = recipe(folder, "Main Color", {"note": "note", "photo": "photo"}, **given)
    before = plain(config)
    found, _ = factory.filled(config)
    assert plain(config) == before
    own = plain(found)

    def check(set_, kept):
        for key, value in set_.items():
            if isinstance(value, dict):
                check(value, kept[key])
            else:
                assert kept[key] == value, key

    of_task = {key: given.pop(key) for key in ("losses", "head")}
    check(given, own)
    assert own["tasks"]["Main_Color"]["losses"] == of_task["losses"]
    assert own["tasks"]["Main_Color"]["head"] == of_task["head"]
    # Nothing of another part's options comes in.
    assert own["encoders"]["photo"] == {"kind": "image", "name": "vit"}
    assert own["fusion"] == given["fusion"]
    assert "options" not in own["optimizer"]
    shapes(found)


@pytest.mark.parametrize(("pixels", "side"), [(4, 16), (20, 32), (64, 64), (200, 64)])
def test_small_pictures_are_not_made_large(tmp_path, pixels, side):
    """And what cannot be read is counted later: it says nothing of the size."""
    rows = ["photo,label"]
    for i in range(8):
        shape = (pixels, pixels // 2, 3)
        PIL.Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{'ab'[i % 2]}")
    (tmp_path / "0.png").write_bytes(b"\x89PNG no more")
    (tmp_path / "a.csv").write_text("\n".join(rows))
    data = {"name": "own", "files": str(tmp_path / "a.csv"), "target": "label"}
    config, splits = factory.filled(ConfigDict({"data": data}))
    assert shape_of(factory.checked(config), "photo") == (side, side, 3)
    given = ConfigDict({"data": data | {"image_size": 24}})
    assert shape_of(factory.checked(filled_by_data(given, splits)), "photo") == (24, 24, 3)


def test_a_checkpoint_gets_what_it_takes(folder, tmp_path):
    """Images of its size, texts as its tokenizer counts them, and nothing of other encoders."""
    fakes.write_clip(tmp_path)
    columns = {"note": "note", "photo": "photo"}
    given = recipe(folder, "Main Color", columns)
    keys = [(f"encoders.{name}.checkpoint", str(tmp_path)) for name in columns]
    config, _ = factory.filled(factory.overridden(given, keys))
    entry = {"name": "pretrained", "path": str(tmp_path), "freeze": True}
    assert plain(config.encoders.photo) == entry | {"kind": "image"}
    assert plain(config.encoders.note) == entry | {"kind": "text"}
    assert config.data.shapes.photo == (16, 16, 3)
    assert config.data.shapes.note == (7 + 2,)  # words, and two marks
    factory.checked(config)
    keys.append(("encoders.note.freeze", "False"))
    assert factory.filled(factory.overridden(given, keys))[0].encoders.note.freeze is False


def test_a_decision_needs_no_fusion(folder):
    config = filled(folder, "Main Color", {"note": "note", "photo": "photo"}, decision="average")
    assert "fusion" not in config
    assert shapes(config)["Main_Color"].shape == (1, 3)


def test_all_that_is_filled_in_is_filled_in_once(folder):
    config, splits = factory.filled(recipe(folder, "Main Color", {"note": "note"}))
    assert filled_by_data(config, splits) == config


@pytest.mark.parametrize(
    ("rows", "size"), [(1, 0), (4_999, 0), (5_000, 1), (99_999, 1), (10**6, 2)]
)
def test_rows_choose_the_first_size_that_is_for_them(rows, size):
    assert size_of(rows) is SIZES[size]


def test_many_rows_get_more_than_few(folder):
    few, splits = factory.filled(recipe(folder, "Main Color", {"note": "note", "photo": "photo"}))
    train = splits["train"]
    again = np.resize(np.arange(len(train)), 6_000)
    train = dataclasses.replace(
        train,
        rows=train.rows[again],
        targets={name: subset(target, again) for name, target in train.targets.items()},
        slice_ids=train.slice_ids[again],
    )
    many = filled_by_data(recipe(folder, "Main Color"), splits | {"train": train})
    assert (few.fusion.name, few.encoders.note.name) == ("sum", "bag_of_words")
    assert (many.fusion.name, many.encoders.note.name) == ("transformer", "transformer")
    assert many.width > few.width
    assert many.data.batch_size > few.data.batch_size
    shapes(many)
