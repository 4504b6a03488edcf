"""What was trained here from nothing, as files: an encoder for other runs, and the whole model."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mmjax
from mmjax import cli, convert, factory
from mmjax.errors import UserError
from mmjax.factory.checkpoints import pretrained
from mmjax.interop.formats.open_weights import open_weights
from tests import restart
from tests.commands import run

QUESTIONS = ["is there a red circle?", "what color is the shape?"]


def config_of(**changes):
    config = factory.checked(cli.load_config("vqa:tiny"))
    config.modalities, config.fusion, config.width = ("text",), {"name": "concat"}, 8
    config.encoders.text = {"name": "lstm"}
    config.data.options = {"train": 64, "validation": 16, "test": 16}
    config.mesh, config.optimizer.warmup_steps = {"data": 1}, 1
    config.train.update({"steps": 4, "log_every": 2, "eval_every": 0})
    config.update(changes)
    return factory.as_config(json.loads(config.to_json()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, its model, and the encoder of its texts as a folder."""
    path = tmp_path_factory.mktemp("own")
    restart.start(config_of(), path / "run")
    run("mmjax.convert", path / "run", path / "text", "--to=safetensors", "--encoder=text")
    return path / "run", mmjax.load(path / "run"), path / "text"


def test_an_encoder_is_one_file_by_path_beside_what_it_is(trained):
    _, model, folder = trained
    found = open_weights(folder)
    own = jax.tree_util.tree_leaves_with_path({"params": model.params["encoders_text"]})
    expected = {"/".join(key.key for key in path): leaf for path, leaf in own}
    assert found.keys() == expected.keys()
    for name, leaf in expected.items():
        np.testing.assert_array_equal(found[name].read(), leaf)
    described = json.loads((folder / "config.json").read_text())
    assert described["model_type"] == "mmjax_encoder"
    assert described["encoder"] == {"name": "lstm"}
    assert (folder / "tokenizer.json").is_file()


def test_another_run_starts_with_it_and_its_words(trained):
    _, model, folder = trained
    config = config_of()
    del config.encoders.text
    config.encoders.text = mmjax.pretrained(folder, freeze=True)
    kept = pretrained.checkpoints(config)
    ids, mask = pretrained.encode_texts(kept["text"], config.data.text_length)(QUESTIONS)
    read = model.readers["text"](QUESTIONS)
    np.testing.assert_array_equal(ids, read.value)
    np.testing.assert_array_equal(mask, read.mask)
    variables, notes = pretrained.first_variables(config, factory.kind_of)
    assert "an encoder that mmjax trained" in notes[0]
    made = factory.model(config, classes=3, vocabulary_size=0, checkpoints=kept).model
    own = {"params": variables["params"]["encoders_text"]}
    ids, mask = jnp.asarray(ids), jnp.asarray(mask)
    found = made.encoders["text"].apply(own, ids, mask)
    before = {"params": model.params["encoders_text"]}
    expected = model.model.encoders["text"].apply(before, ids, mask)
    np.testing.assert_array_equal(found.x, expected.x)
    np.testing.assert_array_equal(found.mask, expected.mask)
    config.width = 6
    other = factory.model(config, classes=3, vocabulary_size=0, checkpoints=kept).model
    shapes = jax.eval_shape(other.encoders["text"].init, jax.random.key(0), ids, mask)
    assert shapes["params"]["to_width"]["kernel"].shape == (8, 6)


def test_an_encoder_of_one_run_is_trained_in_another_and_returns_again(trained, tmp_path):
    _, _, folder = trained
    config = config_of()
    del config.encoders.text
    config.encoders.text = mmjax.pretrained(folder)
    restart.start(config, tmp_path / "run")
    convert.convert(tmp_path / "run", tmp_path / "again", "safetensors", None)
    found, before = open_weights(tmp_path / "again"), open_weights(folder)
    assert found.keys() == before.keys()
    assert any(abs(found[name].read() - before[name].read()).max() > 0 for name in found)
    params = mmjax.load(tmp_path / "run").params["encoders_text"]["backbone"]
    backbone = {name: found[f"params/{name}"].read() for name in map("/".join, paths(params))}
    assert backbone.keys() == {name.removeprefix("params/") for name in found}
    assert pretrained.own.is_own(pretrained.open_checkpoint(tmp_path / "again"))


def paths(tree):
    return [[key.key for key in path] for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def test_the_whole_model_answers_without_its_run(trained, tmp_path):
    workdir, model, _ = trained
    convert.convert(workdir, tmp_path / "whole", "safetensors", None)
    assert not (tmp_path / "whole" / "checkpoints").exists()
    again = mmjax.load(tmp_path / "whole")
    restart.assert_same(again.variables, model.variables)
    found, expected = (m.probabilities(text=QUESTIONS) for m in (again, model))
    np.testing.assert_array_equal(found, expected)
    assert again.labels == model.labels
    with pytest.raises(UserError, match="is one model and has no steps"):
        mmjax.load(tmp_path / "whole", step=4)
    config = tmp_path / "whole" / "config.json"
    config.write_text(config.read_text().replace('"width": 8', '"width": 9'))
    with pytest.raises(UserError, match="does not hold the model of the config.json beside it"):
        mmjax.load(tmp_path / "whole")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("safetensors", "image"), "--encoder: unknown 'image'"),
        (("npz", None), "--to=npz is for published models"),
        (("onnx", None), "--to: unknown 'onnx'"),
    ],
)
def test_what_cannot_be_written_is_one_line(trained, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        convert.convert(trained[0], tmp_path / "new", *arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_an_encoder_alone_is_not_taken_for_a_model(trained):
    folder = trained[2]
    with pytest.raises(UserError, match=r"use it in a config, as mmjax.pretrained\("):
        mmjax.load(folder)
    config = config_of(modalities=("image",))
    config.encoders.image = mmjax.pretrained(folder)
    with pytest.raises(UserError, match="encodes text, not image"):
        factory.model(config, classes=3, vocabulary_size=0)
