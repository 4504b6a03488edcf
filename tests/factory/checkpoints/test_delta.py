"""config.train.delta_checkpoints: checkpoints without what a published file holds."""

import json
import shutil

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import mmjax
from mmjax import cli, factory
from mmjax.errors import UserError
from tests import restart
from tests.interop import fakes

BERT = {
    "model_type": "bert",
    "vocab_size": 16_000,
    "hidden_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "max_position_embeddings": 16,
}
# Of the encoder itself a norm trains, too.
ALSO = ("^(?!encoders_)", "to_width", "backbone/embedding_norm")
LORA = {"name": "lora", "rank": 2, "where": "encoders_text/.*qkv", "also": ALSO}
QUESTION = "is there a red circle?"


def config_of(folder, *, delta_checkpoints, tuning=LORA):
    config = factory.checked(cli.load_config("vqa:tiny"))
    config.encoders.text, config.tuning = mmjax.pretrained(str(folder)), tuning
    config.modalities, config.fusion, config.width = ("text",), {"name": "concat"}, 8
    config.data.options = {"train": 64, "validation": 16, "test": 16}
    config.mesh, config.optimizer.warmup_steps = {"data": 1}, 1
    config.optimizer.freeze = ("to_width/bias",)  # which no file has
    config.train.update({"steps": 10, "log_every": 5, "eval_every": 0})
    config.train.delta_checkpoints = delta_checkpoints
    return factory.as_config(json.loads(config.to_json()))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of a BERT, a run whose checkpoints are whole, and one without, interrupted."""
    path = tmp_path_factory.mktemp("runs")
    bert, whole, thin = path / "bert", path / "whole", path / "thin"
    fakes.write_clip(bert, BERT)
    restart.start(config_of(bert, delta_checkpoints=False), whole)
    restart.start(config_of(bert, delta_checkpoints=True), thin, stop=5)
    restart.start(config_of(bert, delta_checkpoints=True), thin)
    return bert, whole, thin


def size(workdir):
    files = (workdir / "checkpoints" / "10" / "state").rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def test_a_resumed_run_without_its_base_in_the_checkpoints_equals_one_with_it(runs):
    _, whole, thin = runs
    (state, position), (expected, expected_position) = (
        restart.state_of(workdir, 10) for workdir in (thin, whole)
    )
    held, all_of_them = (flatten_dict(s.pop("params"), sep="/") for s in (state, expected))
    assert position == expected_position
    restart.assert_same(state, expected)
    held = {name: array for name, array in held.items() if array is not None}
    backbone = {name for name in all_of_them if name.startswith("encoders_text/backbone/")}
    assert all_of_them.keys() - held.keys() == {n for n in backbone if "embedding_norm" not in n}
    restart.assert_same(held, {name: all_of_them[name] for name in held})
    assert size(thin) < 0.05 * size(whole)


def test_what_is_loaded_is_whole_wherever_the_base_lies(runs, tmp_path):
    bert, whole, thin = runs
    expected = mmjax.load(whole)
    model = mmjax.load(thin)
    restart.assert_same(model.params, expected.params)
    answers = (m.probabilities(text=QUESTION) for m in (model, expected))
    np.testing.assert_array_equal(*answers)
    moved = shutil.copytree(thin, tmp_path / "thin")
    noted = (moved / "base.json").read_text()
    (moved / "base.json").write_text(noted.replace(str(bert), str(tmp_path / "bert")))
    shutil.move(bert, tmp_path / "bert")
    try:
        restart.assert_same(mmjax.load(moved).params, expected.params)
    finally:
        shutil.move(tmp_path / "bert", bert)


@pytest.mark.parametrize(("seed", "words"), [(None, "bert"), (1, "has changed since")])
def test_a_base_that_is_gone_or_changed_is_one_line(runs, tmp_path, seed, words):
    bert, _, thin = runs
    shutil.move(bert, tmp_path / "away")
    try:
        if seed is not None:
            fakes.write_clip(bert, BERT, seed)
        config = config_of(bert, delta_checkpoints=True)
        for start in (lambda: mmjax.load(thin), lambda: restart.start(config, thin)):
            with pytest.raises(UserError, match=f"{words}.*put it back.*base.json") as error:
                start()
            assert "\n" not in str(error.value)
    finally:
        shutil.rmtree(bert, ignore_errors=True)
        shutil.move(tmp_path / "away", bert)


def test_where_all_trains_there_is_nothing_to_leave_out(runs, tmp_path):
    config = config_of(runs[0], delta_checkpoints=True, tuning={"name": "full"})
    with pytest.raises(UserError, match="delta_checkpoints: no pretrained encoder is frozen"):
        restart.start(config, tmp_path / "run")
