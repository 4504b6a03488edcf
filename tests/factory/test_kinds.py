"""Kinds and names: any names for modalities, a kind more than once, parts by import path."""

import sys

import jax
import numpy as np
import PIL.Image
import pytest
from ml_collections import ConfigDict

import mmjax
from mmjax import factory, main, predict
from mmjax.data.pipeline import loader
from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError
from mmjax.factory.splits import Made, handling, named
from mmjax.factory.tables.kinds import KINDS
from mmjax.factory.tables.names import entry
from tests.factory.test_factory import ROOT, module_of

PLUGIN = '''
import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.targets import Target
from mmjax.fusion.pooling.concat import ConcatFusion
from mmjax.losses.targets.classification import cross_entropy
from mmjax.tasks.classification import CLASSIFICATION
from mmjax.encoders.vector.mlp import VectorMlp


class Fusion(ConcatFusion):
    """Mine."""


class Encoder(VectorMlp):
    """Mine."""


def loss(logits, labels, *, sharpness: float = 1.0):
    return cross_entropy(logits * sharpness, labels)


def boldest(logits, present):
    """The decision of the modality that is surest."""
    sure = jnp.where(present, jnp.max(nn.log_softmax(logits), axis=-1), -jnp.inf)
    return jnp.take_along_axis(logits, jnp.argmax(sure, axis=1)[:, None, None], axis=1)[:, 0]


def share_right(predicted, labels):
    """On the host, over the whole set."""
    return float(np.mean(predicted == labels))


def data(*, seed: int = 0, rows: int = 64):
    """Two questions and a picture of different sizes."""
    rng = np.random.default_rng(seed)

    def split(name, rows=rows):
        labels = rng.integers(2, size=rows)
        tall = np.repeat(labels[:, None, None, None] * 255, 8, 1).repeat(12, 2).repeat(3, 3)
        wide = np.full((rows, 16, 4, 3), 9, np.uint8)
        words = [["is it no?", "is it yes?"][i] for i in labels]
        return Arrays(
            name=name,
            values={"left": tall.astype(np.uint8), "right": wide},
            masks={"left": np.ones(rows, bool), "right": np.ones(rows, bool)},
            texts={"caption": words, "question": ["what is it?"] * rows},
            targets={"label": Target(labels, ("no", "yes"))},
            slice_ids=np.zeros(rows, int),
            slices=("all",),
        )

    return {name: split(name) for name in ("train", "validation", "test")}


TASK = dataclasses.replace(CLASSIFICATION, name="mine")
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "my_plugin.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_plugin", None)


def cameras_and_questions():
    """Two cameras of different size and two texts of different length, none called by its kind."""
    config = module_of(ROOT / "configs" / "vqa.py").get_config("tiny")
    config.modalities = ("eye", "right", "asked", "said")
    encoders = {
        "eye": {"kind": "image", "name": "cnn", "patch_size": 4, "channels": (16,)},
        "right": {"kind": "image", "name": "cnn", "patch_size": 4, "channels": (16,)},
        "asked": {"kind": "text", "name": "bag_of_words"},
        "said": {"kind": "text", "name": "bag_of_words"},
    }
    config.encoders = ConfigDict(encoders)
    data = {
        "name": "my_plugin:data",
        "options": {"rows": 96},
        "batch_size": 32,
        "columns": {"eye": "left", "asked": "question", "said": "caption"},
        "shapes": {"eye": (8, 12, 3), "right": (16, 4, 3), "asked": (6,)},
        "text_length": 3,
    }
    config.data = ConfigDict(data)
    config.augment = ConfigDict({"eye": {"flip_horizontal": {}}})
    config.task = "my_plugin:TASK"
    config.fusion = ConfigDict({"name": "my_plugin:Fusion"})
    config.losses = {"mine": {"name": "my_plugin:loss", "sharpness": 2.0}}
    config.metrics = ("accuracy", "my_plugin:share_right")
    config.width = 16
    config.train.steps, config.train.eval_every = 30, 15
    config.train.monitor = "val/share_right"
    return config


def test_a_run_of_own_names_and_own_parts_trains_and_predicts(plugin, capsys):
    config = cameras_and_questions()
    text = "from ml_collections import ConfigDict\n\n\ndef get_config():\n    return ConfigDict("
    (plugin / "own.py").write_text(f"{text}{config.to_dict()!r})\n")
    run = plugin / "run"
    main.main(["mmjax", f"--config={plugin / 'own.py'}", f"--workdir={run}"])
    assert "share_right" in capsys.readouterr().out
    model = mmjax.load(run)
    assert model.modalities == config.modalities
    assert model.tasks.keys() == {"mine"}
    PIL.Image.fromarray(np.full((30, 50, 3), 255, np.uint8)).save(plugin / "white.png")
    (one, *_) = model(eye=str(plugin / "white.png"), said="is it yes?")
    assert one["answer"] == "yes"
    eyes = [np.zeros((8, 12, 3), np.uint8), str(plugin / "white.png")]
    answers = model(eye=eyes, said=["is it no?", "is it yes?"], asked="what is it?")
    assert [a[0]["answer"] for a in answers] == ["no", "yes"]
    predict.main(["x", f"--workdir={run}", "--eye=white.png", "--said=is it yes?", "--top=1"])
    assert '"answers": [{"answer": "yes"' in capsys.readouterr().out
    with pytest.raises(UserError, match="unknown 'sad'; did you mean 'said'"):
        predict.main(["x", f"--workdir={run}", "--sad=is it yes?"])


@pytest.mark.usefixtures("plugin")
def test_each_modality_has_its_own_shape_and_column():
    config = factory.checked(cameras_and_questions())
    inputs = factory.example_inputs(config)
    assert {n: x.value.shape[1:] for n, x in inputs.items()} == {
        "eye": (8, 12, 3),
        "right": (16, 4, 3),
        "asked": (6,),
        "said": (3,),
    }
    split = named(config, factory.sources(config)["train"])

    def encode(texts):
        return np.array([[len(text)] for text in texts], np.int32), np.ones((len(texts), 1), bool)

    examples = handling(split).examples(
        config, split, config.modalities, Made({"asked": encode, "said": encode}, {}, {}), True
    )
    batch = next(iter(loader.eval_batches(examples, loader.Reading(4))))
    assert batch["eye"].shape == (4, 8, 12, 3)
    assert batch["asked"].tolist() == [[11]] * 4
    assert set(batch["said"].ravel()) <= {9, 10}
    model = factory.model(config, classes=2, vocabulary_size=9)
    jax.eval_shape(lambda: model.init(jax.random.PRNGKey(0), inputs))


def test_one_column_may_be_read_twice():
    rows = np.zeros((3, 2), np.float32)
    split = Arrays(
        name="own",
        values={"x": rows},
        masks={"x": np.ones((3, 2), bool)},
        targets={"label": Target(np.zeros(3, int), ("a",))},
        slice_ids=np.zeros(3, int),
        slices=("all",),
    )
    twice = split.renamed({"a": "x", "b": "x"})
    assert twice.values.keys() == twice.masks.keys() == {"a", "b"}
    assert split.renamed({}).values.keys() == {"x"}
    with pytest.raises(UserError, match="own: no column 'y' for 'a'; there is x"):
        split.renamed({"a": "y"})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_whole_record(kind):
    record = KINDS[kind]
    assert record.encoders
    assert 0 <= record.masked_axes < len(record.sizes) + 1
    assert record.encoders is factory.ENCODERS[kind]
    if record.usual is not None:
        key, shape = record.usual
        assert f"data.{key}" in factory.config.keys.KEYS
        assert len(shape(8)) == len(record.sizes)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_plugni:Fusion", "config.fusion='my_plugni:Fusion': No module named 'my_plugni'"),
        ("my_plugin:Fusoin", "it has no 'Fusoin'; did you mean 'Fusion'"),
        ("my_broken:Fusion", "config.fusion='my_broken:Fusion': ZeroDivisionError in it: division"),
    ],
)
def test_a_path_that_leads_nowhere_is_one_line(plugin, name, words):
    (plugin / "my_broken.py").write_text("1 / 0\n")
    with pytest.raises(UserError, match=words) as caught:
        entry(factory.FUSIONS, name, "config.fusion")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("fusion.widht", 3, "config.fusion.*unknown 'widht'; did you mean 'width'"),
        ("data.options.rwos", 3, "config.data.options.*unknown 'rwos'; did you mean 'rows'"),
        ("data.columns.ey", "left", "config.data.columns: unknown 'ey'; did you mean 'eye'"),
        ("encoders.eye.kind", "images", "unknown 'images'; did you mean 'image'"),
    ],
)
@pytest.mark.usefixtures("plugin")
def test_options_of_own_parts_are_checked_as_ours(key, value, words):
    config = cameras_and_questions()
    *path, last = key.split(".")
    node = config
    for name in path:
        node = node[name]
    with node.unlocked():
        node[last] = value
    with pytest.raises(UserError, match=words):
        factory.checked(config)


@pytest.mark.usefixtures("plugin")
def test_decisions_may_be_combined_by_a_rule_of_own():
    config = cameras_and_questions()
    del config.fusion
    config.decision = "my_plugin:boldest"
    config = factory.checked(config)
    model = factory.model(config, classes={"mine": 2}, vocabulary_size=9)
    inputs = factory.example_inputs(config)
    found = model.apply(jax.jit(model.init)(jax.random.key(0), inputs), inputs)
    own = np.stack([found[f"mine/{name}"] for name in config.modalities], axis=1)
    best = np.argmax(np.max(own - np.logaddexp.reduce(own, axis=-1)[..., None], axis=-1), axis=1)
    np.testing.assert_allclose(found["mine"], own[np.arange(len(own)), best], rtol=1e-6)
    config.decision = "my_plugin:bolder"
    with pytest.raises(UserError, match="it has no 'bolder'; did you mean 'boldest'"):
        factory.model(config, classes={"mine": 2}, vocabulary_size=9)
