"""`config.tuning` from the command line to the loaded model."""

import json

import jax
import numpy as np
import pytest

import mmjax
from mmjax import cli, factory
from mmjax.data.datasets.digit_halves import digit_halves
from mmjax.errors import UserError
from mmjax.metrics.retrieval import retrieval
from mmjax.train.checkpoints.workdir import read_json
from mmjax.train.reporting.writers import read_metrics
from mmjax.tuning.adapter_file import load_adapter, save_adapter
from mmjax.tuning.lora import Lora
from mmjax.tuning.tuned import Tuned
from tests import restart
from tests.commands import ROOT, run

ALIGN = f"--config={ROOT}/configs/align.py:tiny"
OPTIONS = {"name": "lora", "rank": 4, "where": "encoders_(lower|upper)/dense"}
SHORT = (
    "--config.train.steps=20",
    "--config.train.eval_every=10",
    "--config.optimizer.ema=0.9",
    "--config.optimizer.unfreeze=(('^projections', 5),)",
    f"--config.tuning={OPTIONS}",
)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "tuned"
    run("mmjax.main", ALIGN, f"--workdir={path}", *SHORT)
    return path


def test_a_tuned_model_trains_stores_and_loads(workdir, tmp_path):
    model, test = mmjax.load(workdir), digit_halves()["test"]
    assert isinstance(model.model, Tuned)
    assert model.model.tuning == Lora(rank=4, where=OPTIONS["where"])
    rows = {name: list(test.values[name]) for name in ("lower", "upper")}
    embeddings = model.embed(**rows)
    found = retrieval(embeddings["lower"], embeddings["upper"], names=("lower", "upper"))
    last = read_metrics(workdir)[-1]
    for name, value in found.items():
        assert value == pytest.approx(last[f"test/{name}"], abs=0.004), name
    # Its base is as it was at first: what it learned is in the adapter.
    config = factory.as_config(read_json(workdir / "config.json"))
    example = factory.example_inputs(config)
    first = model.model.init(jax.random.PRNGKey(config.seed), example)["params"]
    trains = model.model.trains(first)
    for params in (first, model.params):
        assert params["lora"].keys() == {"encoders_lower", "encoders_upper"}
    for key in ("encoders_lower", "encoders_upper"):
        jax.tree.map(np.testing.assert_array_equal, model.params[key], first[key])
    file = tmp_path / "adapter.safetensors"
    save_adapter(file, model.params, trains, config.tuning.to_dict())
    jax.tree.map(np.testing.assert_array_equal, load_adapter(file, first, trains), model.params)
    merged = model.model.tuning.merge(model.params)
    inputs = {name: model.readers[name](rows[name]) for name in rows}
    plain = jax.jit(model.model.model.apply)({"params": merged}, inputs)
    np.testing.assert_allclose(plain["embedding/upper"], embeddings["upper"], atol=1e-4)


def test_it_resumes(workdir):
    before = read_metrics(workdir)
    out, _ = run("mmjax.main", ALIGN, f"--workdir={workdir}", *SHORT)
    assert "is finished; testing again" in out
    assert read_metrics(workdir) == before


def config_of(**tuning):
    config = factory.checked(cli.load_config("vqa:tiny"))
    return factory.as_config(json.loads(config.to_json()) | {"tuning": tuning})


@pytest.mark.parametrize(
    ("tuning", "words"),
    [
        ({"name": "lorra"}, r"config.tuning.name: unknown 'lorra'; did you mean 'lora'"),
        (
            {"name": "lora", "rnak": 4},
            r"config.tuning \(lora\): unknown 'rnak'; did you mean 'rank'",
        ),
        ({"name": "lora", "rank": 0}, r"config.tuning.rank: 0 is too small"),
        ({"name": "lora", "where": "("}, r"config.tuning.where: '\(' is no regular expression"),
        ({"name": "lora", "also": "heads"}, r"config.tuning.also='heads': give a tuple"),
        ({"name": "lora", "parts": ("o",)}, r"config.tuning.parts: unknown 'o'"),
        ({"name": "full", "frozen": ("imag",)}, r"config.tuning.frozen: .* did you mean 'image'"),
        ({"rank": 3}, r"config.tuning has no 'name'"),
    ],
)
def test_a_wrong_option_is_one_line(tuning, words):
    with pytest.raises(UserError, match=words) as error:
        factory.model(config_of(**tuning), classes=3, vocabulary_size=9)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(factory.TUNINGS))
def test_each_tuning_is_built_with_an_optimizer_of_what_trains(name):
    config = config_of(name=name)
    if name != "full":
        config.encoders.text = {"name": "transformer", "layers": 1}
        config.modalities = ("text",)
        config.fusion = {"name": "concat"}
    config.optimizer.layer_decay = 0.5 if name != "full" else 1.0
    model = factory.model(config, classes=3, vocabulary_size=9)
    example = factory.example_inputs(config)
    params = jax.eval_shape(model.init, jax.random.PRNGKey(0), example)["params"]
    optimizer, _ = factory.make_optimizer(config, params)
    held = sum(x.size for x in jax.tree.leaves(jax.eval_shape(optimizer.init, params)) if x.ndim)
    trains = factory.trains(config, params)
    sizes = jax.tree.map(lambda p: p.size, params)
    if name == "full":
        assert trains is None
        assert held == 2 * sum(jax.tree.leaves(sizes))
    else:
        free = jax.tree.map(lambda s, t: s if t else 0, sizes, trains)
        assert held == 2 * sum(jax.tree.leaves(free))
        assert held < sum(jax.tree.leaves(sizes))


def small_config(name):
    """Ten steps in one process on one device, with state that is easily lost."""
    if name == "prompt":
        config = config_of(name=name, count=2)
        config.encoders.text = {"name": "transformer", "layers": 1, "heads": 2, "dropout": 0.1}
        config.modalities, config.fusion = ("text",), {"name": "concat"}
        config.data.options = {"train": 64, "validation": 16, "test": 16}
    else:
        config = factory.checked(cli.load_config("align:tiny"))
        config.tuning = {"dropout": 0.1} | OPTIONS
        config.optimizer.unfreeze = (("^projections", 7),)
        config.optimizer.accumulate = 2  # the interrupt falls between two batches of an update
    config.width, config.augment, config.mesh = 16, {}, {"data": 1}
    config.optimizer.update({"warmup_steps": 1, "ema": 0.9})
    config.train.update({"steps": 10, "log_every": 5, "eval_every": 0})
    return factory.as_config(json.loads(config.to_json()))


@pytest.mark.parametrize(("name", "encoder"), [("lora", "upper"), ("prompt", "text")])
def test_ten_steps_equal_five_an_interrupt_and_five_more(name, encoder, tmp_path):
    config, whole, parts = small_config(name), tmp_path / "whole", tmp_path / "parts"
    restart.start(config, whole)
    restart.start(config, parts, stop=5)
    before, _ = restart.state_of(parts, 5)
    restart.start(config, parts)
    state = restart.assert_same_checkpoint(parts, whole, 10)
    for tree in ("params", "ema_params"):
        moved = jax.tree.map(lambda a, b: (a != b).any(), state[tree][name], before[tree][name])
        assert jax.tree.leaves(moved)
        assert all(jax.tree.leaves(moved))
    frozen = (tree["params"][f"encoders_{encoder}"] for tree in (state, before))
    restart.assert_same(*frozen)
