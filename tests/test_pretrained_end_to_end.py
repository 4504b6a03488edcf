"""Somebody's checkpoint in a recipe: trained, frozen, used, and given back."""

import shutil

import jax
import numpy as np
import pytest

import mmjax
from mmjax import cli, interop
from mmjax.interop.formats.open_weights import open_weights
from mmjax.train.reporting.writers import read_metrics
from tests import restart
from tests.commands import ROOT, run
from tests.interop import fakes

RECIPE = """
import importlib.util

from ml_collections import ConfigDict
from mmjax import pretrained

spec = importlib.util.spec_from_file_location("recipe", {recipe!r})
recipe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipe)


def get_config(variant="tiny"):
    config = recipe.get_config(variant)
    del config.encoders.image
    config.encoders.image = pretrained({path!r}, freeze=True)
    del config.encoders.text
    config.encoders.text = pretrained({path!r}, output="pooled")
    config.train.steps = config.train.eval_every = 6
    config.data.options = ConfigDict({{"train": 64, "validation": 16, "test": 16}})
    return config
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fakes.new_clip(tmp_path_factory)


@pytest.fixture(scope="module")
def recipe(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "recipe.py"
    path.write_text(RECIPE.format(recipe=str(ROOT / "configs" / "vqa.py"), path=str(folder)))
    return path


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "pretrained"
    out, _ = run("mmjax.main", f"--config={recipe}", f"--workdir={workdir}")
    return workdir, out


def backbones(workdir):
    params = mmjax.load(workdir).params
    return {kind: params[f"encoders_{kind}"]["backbone"] for kind in ("image", "text")}


def test_what_is_frozen_stays_and_the_rest_learns(trained, folder):
    workdir, out = trained
    assert "image from" in out
    assert "newly initialised" in out
    original, own = interop.load(folder).params, backbones(workdir)
    jax.tree.map(np.testing.assert_array_equal, own["image"], original["vision"]["backbone"])
    first = original["text"]["backbone"]
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), own["text"], first)
    assert all(x > 0 for x in jax.tree.leaves(moved["transformer"]["block_0"]["mlp_in"]))
    assert np.isfinite(read_metrics(workdir)[-1]["test/accuracy"])


def test_it_answers_and_resumes_without_the_original(trained, folder, recipe, tmp_path):
    workdir, _ = trained
    away = tmp_path / "elsewhere"
    shutil.move(folder, away)
    try:
        model = mmjax.load(workdir)
        image = np.zeros((20, 30, 3), np.uint8)
        answers = model(image=[image, image], text=["is there a circle?", "what color ?"])
        assert answers[0] != answers[1]
        alone = model(image=image, text="is there a circle?")
        assert [row["answer"] for row in alone] == [row["answer"] for row in answers[0]]
        out, _ = run("mmjax.main", f"--config={recipe}", f"--workdir={workdir}")
        assert "the run is finished" in out
    finally:
        shutil.move(away, folder)


def test_ten_steps_equal_five_an_interrupt_and_five_more_without_the_original(
    folder, recipe, tmp_path
):
    config = cli.load_config(str(recipe))
    config.modalities, config.fusion = ("image",), {"name": "concat"}
    config.mesh, config.optimizer.warmup_steps = {"data": 1}, 1
    config.train.update({"steps": 10, "log_every": 5, "eval_every": 0})
    whole, parts, original = tmp_path / "whole", tmp_path / "parts", interop.load(folder).params
    restart.start(config, whole)
    restart.start(config, parts, stop=5)
    shutil.move(folder, tmp_path / "elsewhere")
    try:
        restart.start(config, parts)
    finally:
        shutil.move(tmp_path / "elsewhere", folder)
    state = restart.assert_same_checkpoint(parts, whole, 10)
    restart.assert_same(
        state["params"]["encoders_image"]["backbone"], original["vision"]["backbone"]
    )


def test_the_trained_encoder_returns_to_its_library_alone(trained, folder, tmp_path):
    """The other backbone and the projections of the original did not train with it."""
    workdir, _ = trained
    back = tmp_path / "back"
    out, _ = run("mmjax.convert", workdir, back, "--to=safetensors", "--encoder=text")
    assert "the text backbone alone (clip_text_model)" in out
    model, own = interop.load(back), backbones(workdir)
    jax.tree.map(np.testing.assert_array_equal, model.params, own["text"])
    original, returned = open_weights(folder), open_weights(back)
    assert returned.keys() == {name for name in original if name.startswith("text_model")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config.encoders.image.path=/nowhere/clip",), "/nowhere/clip"),
        (("--config.encoders.text.output=final",), "unknown 'final'"),
        (("--config.data.text_length=17",), "17 words, but the model takes 16"),
    ],
)
def test_mistakes_end_with_a_line(recipe, tmp_path, arguments, message):
    command = ("mmjax.main", f"--config={recipe}", f"--workdir={tmp_path / 'run'}")
    _, error = run(*command, *arguments, expect=2)
    assert message in error
    assert len(error.strip().splitlines()) == 1
