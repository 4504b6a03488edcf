"""A run that is finished or changed is no dead end: longer, with more metrics, or as a start."""

import functools
import io
import json
import shutil

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict
from rich.console import Console

import mmjax
from mmjax import cli, factory, main
from mmjax.errors import UserError
from mmjax.factory.checkpoints import pretrained, warm_start
from mmjax.factory.config.keys import KEYS
from mmjax.factory.make_training import rates
from mmjax.train.checkpoints import workdir
from mmjax.train.host.signals import Interrupts
from mmjax.train.partition import names_of
from mmjax.train.reporting.writers import read_metrics
from mmjax.train.run import Run, train
from tests.commands import ROOT
from tests.interop import fakes
from tests.restart import assert_same, assert_same_checkpoint

FUSION = f"{ROOT}/configs/fusion.py:tiny"
SMALL = {
    "compilation_cache": "''",
    "data.batch_size": "16",
    "data.options.test": "64",
    "data.options.train": "64",
    "data.options.validation": "64",
    "mesh.data": "1",
    "optimizer.end_factor": "1.0",
    "optimizer.schedule": "constant",
    "optimizer.warmup_steps": "0",
    "train.eval_every": "0",
    "train.log_every": "1",
    "train.steps": "3",
}


def config_with(file=FUSION, **keys):
    given = SMALL | {key.replace("__", "."): value for key, value in keys.items()}
    return factory.checked(factory.overridden(cli.load_config(file), list(given.items())))


def go(config, path):
    """Starts or resumes a run; gives back what it printed."""
    said = io.StringIO()
    with Interrupts() as interrupts:
        directory, experiment = factory.experiment(config, str(path))
        train(experiment, directory, Console(file=said, width=200), interrupts)
    return said.getvalue()


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The workdir of a finished run of three steps."""
    path = tmp_path_factory.mktemp("runs") / "short"
    go(config_with(), path)
    return path


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """The workdir of a run that was of six steps from the start."""
    path = tmp_path_factory.mktemp("runs") / "long"
    go(config_with(train__steps="6"), path)
    return path


@pytest.fixture
def copied(short, tmp_path):
    return shutil.copytree(short, tmp_path / "copied")


def test_a_longer_schedule_goes_on_as_if_it_had_been_so_from_the_start(copied, long):
    said = go(config_with(train__steps="6"), copied)
    assert "config.train.steps is now 6 and was 3" in said
    assert "found a checkpoint at step 3: the run goes on" in said
    assert_same_checkpoint(copied, long, 6)
    records = read_metrics(copied)
    assert [r["step"] for r in records if "test/accuracy" in r] == [3, 6]
    assert workdir.read_json(copied / "config.json")["train"]["steps"] == 6


@pytest.mark.parametrize("ways", [("auto", "pmap"), ("pmap", "auto")])
def test_a_run_goes_on_with_another_way_of_taking_a_step(tmp_path, long, ways):
    for way, steps in zip(ways, "36", strict=True):
        said = go(config_with(parallel=way, mesh__data="8", train__steps=steps), tmp_path / "run")
    assert f"config.parallel is now {ways[1]!r} and was {ways[0]!r}" in said
    losses = [
        [r["train/loss"] for r in read_metrics(w) if "train/loss" in r]
        for w in (tmp_path / "run", long)
    ]
    assert len(losses[0]) == 6
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_the_learning_rate_is_that_of_the_whole_new_schedule_at_the_step(copied):
    other = {"optimizer__schedule": "warmup_cosine", "optimizer__end_factor": "0.0"}
    new = config_with(train__steps="6", **other)
    _, experiment = factory.experiment(new, str(copied))
    said = "\n".join(experiment.notes)
    rate = float(rates(new)(3))
    assert 0 < rate < 3e-3
    assert f"of 6 steps: from step 3 on it is {rate:.3g}, where it was 0.003" in said
    assert "config.optimizer.schedule is now 'warmup_cosine' and was 'constant'" in said


def test_a_finished_run_takes_more_metrics_and_stays_as_it_is(copied, short):
    before = read_metrics(copied)
    go(config_with(metrics="('accuracy', 'brier')"), copied)
    last = read_metrics(copied)[-1]
    assert last["step"] == 3
    assert last["test/brier"] > 0
    assert read_metrics(copied)[: len(before)] == before
    assert_same_checkpoint(copied, short, 3)


@pytest.mark.parametrize(
    ("steps", "patience", "step", "stale", "over"),
    [
        (6, 0, 3, 9, False),
        (6, 0, 6, 0, True),
        (6, 0, 7, 0, True),
        (6, 2, 3, 1, False),
        (6, 2, 3, 2, True),
        (6, 3, 3, 2, False),
    ],
)
def test_whether_a_run_is_over_follows_from_the_schedule_that_it_has_now(
    steps, patience, step, stale, over
):
    config = config_with(train__steps=str(steps), train__patience=str(patience))
    assert factory.make_schedule(config).is_over(step, stale) == over


def test_a_workdir_is_tested_by_its_own_config_and_left_as_it_is(copied, capsys):
    before = {p: p.read_bytes() for p in copied.rglob("*.json*")}
    for more in ([], ["--config.metrics=('accuracy','brier')", "--config.data.threads=2"]):
        main.main(["main", f"--workdir={copied}", "--mode=eval", *more])
        assert ("brier" in capsys.readouterr().out) == bool(more)
    assert {p: p.read_bytes() for p in copied.rglob("*.json*")} == before


def test_a_workdir_written_before_keys_were_added_goes_on_and_loads(copied, short, long):
    config = workdir.read_json(copied / "config.json")
    for key, entry in KEYS.items():
        group, _, name = key.rpartition(".")
        node = config[group] if group else config
        plain = isinstance(entry.default, (str, int, float, tuple, dict))
        if plain and node.get(name, ...) == json.loads(json.dumps(entry.default)):
            del node[name]
    for key in ("init_from", "tuning", "mixup", "decision"):
        assert key not in config
    (copied / "config.json").write_text(json.dumps(config))
    for sums in copied.rglob("SHA256SUMS"):  # nor did older versions write those
        sums.unlink()
    rows = {name: np.ones((1, 16), np.float32) for name in "abc"}
    loaded = mmjax.load(copied).probabilities(**{k: list(v) for k, v in rows.items()})
    expected = mmjax.load(short).probabilities(**{k: list(v) for k, v in rows.items()})
    np.testing.assert_array_equal(loaded, expected)
    go(config_with(train__steps="6"), copied)
    assert_same_checkpoint(copied, long, 6)


def started(config, path):
    """The state at step 0 of a run, and what it said of it."""
    said = io.StringIO()
    directory, experiment = factory.experiment(config, str(path))
    run = Run(experiment, directory, Console(file=said, width=200))
    return run.start(), said.getvalue()


def test_a_run_starts_from_what_another_learned(short, tmp_path):
    state, said = started(config_with(init_from=str(short)), tmp_path / "run")
    assert_same(jax.device_get(state.params), jax.device_get(mmjax.load(short).params))
    assert f"took {len(names_of(state.params))} of {len(names_of(state.params))} arrays" in said
    assert "newly initialised: 0 arrays" in said
    assert int(state.step) == 0


def test_what_does_not_fit_is_drawn_and_said(short, tmp_path):
    other = {"fusion": "concat", "head__hidden": "(8,)", "seed": "1"}
    state, said = started(config_with(init_from=str(short), **other), tmp_path / "run")
    drawn, _ = started(config_with(**other), tmp_path / "drawn")
    source = jax.device_get(mmjax.load(short).params)
    assert_same(jax.device_get(state.params["encoders_a"]), source["encoders_a"])
    for name in ("fusion", "heads_label"):
        given, fresh = state.params[name], drawn.params[name]
        taken = [n for n in names_of(given) if n in names_of(source[name])]
        assert len(taken) < len(names_of(given))
        for path in set(names_of(given)) - set(taken):
            pick = functools.partial(functools.reduce, lambda tree, key: tree[key], path.split("/"))
            np.testing.assert_array_equal(pick(given), pick(fresh))
    assert "left over there" in said
    assert "newly initialised" in said
    with pytest.raises(UserError, match="nothing was trained in it yet"):
        started(config_with(init_from=str(tmp_path / "drawn")), tmp_path / "more")
    speech = config_with(f"{ROOT}/configs/speech.py:tiny", **SPEECH, init_from=str(short))
    with pytest.raises(UserError, match="nothing in it has a place in this model"):
        started(speech, tmp_path / "speech")


SPEECH = {f"data__options__{split}": "32" for split in ("train", "validation", "test")}


def test_classes_and_words_are_taken_by_their_names():
    """Whatever their numbers are: two data sets may count them differently."""
    config = cli.load_config(f"{ROOT}/configs/vqa.py:tiny")
    make = functools.partial(factory.model, factory.checked(config))
    example = factory.example_inputs(config)
    old = warm_start.Names({"": ("red", "blue", "no")}, ("[PAD]", "[UNK]", "is", "what", "shape"))
    new = warm_start.Names(
        {"": ("no", "green", "red")}, ("[PAD]", "[UNK]", "shape", "is", "so", "it")
    )
    model = make(classes=3, vocabulary_size=5)
    source = model.init(jax.random.PRNGKey(0), example)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm_start, "trained", lambda *_: (flatten_dict(source), 7))
        patch.setattr(warm_start, "names_in", lambda _, **__: old)
        patch.setattr(warm_start.workdir, "has_checkpoints", lambda _: True)
        config.init_from = "runs/other"
        found, notes = warm_start.taken(factory.checked(config), make, example, new)
    logits = found["params"]["heads_label"]["logits"]
    theirs = source["params"]["heads_label"]["logits"]
    drawn = jax.numpy.zeros((128, 3))
    put = np.asarray(logits["kernel"].put_into(drawn))
    np.testing.assert_array_equal(put[:, 0], theirs["kernel"][:, 2])
    np.testing.assert_array_equal(put[:, 1], 0)
    np.testing.assert_array_equal(put[:, 2], theirs["kernel"][:, 0])
    rows = [p for p in names_of(found["params"]["encoders_text"]) if "kernel" in p]
    text = found["params"]["encoders_text"]
    sliced = [x for x in jax.tree.leaves(text) if isinstance(x, warm_start.Slices)]
    assert len(sliced) == 1
    assert rows
    first = next(x for x in jax.tree.leaves(source["params"]["encoders_text"]) if 5 in x.shape)
    put = np.asarray(sliced[0].put_into(jax.numpy.zeros(sliced[0].shape)))
    np.testing.assert_array_equal(put[:4], np.asarray(first)[[0, 1, 4, 2]])
    np.testing.assert_array_equal(put[4:], 0)
    assert any("by the name of class or word" in note for note in notes)


def test_classes_of_several_tasks_are_taken_by_their_own_names():
    config = cli.load_config(f"{ROOT}/configs/fusion.py:tiny")
    task = {"name": "classification", "losses": ("cross_entropy",)}
    config.tasks = {"one": task, "two": task}
    for key in ("task", "losses", "metrics", "head"):
        if key in config:
            del config[key]
    config.init_from = "runs/other"
    make = functools.partial(factory.model, factory.checked(config))
    example = factory.example_inputs(config)
    old = warm_start.Names({"one": ("a", "b", "c"), "two": ("x", "y")}, ())
    new = warm_start.Names({"one": ("c", "a"), "two": ("y", "z", "x")}, ())
    source = make(classes={"one": 3, "two": 2}, vocabulary_size=0).init(
        jax.random.PRNGKey(0), example
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm_start, "trained", lambda *_: (flatten_dict(source), 7))
        patch.setattr(warm_start, "names_in", lambda _, **__: old)
        patch.setattr(warm_start.workdir, "has_checkpoints", lambda _: True)
        found, _ = warm_start.taken(factory.checked(config), make, example, new)
    for name, size, taken in (("one", 2, {0: 2, 1: 0}), ("two", 3, {0: 1, 2: 0})):
        kernel = found["params"][f"heads_{name}"]["logits"]["kernel"]
        assert kernel.shape[1] == size
        put = np.asarray(kernel.put_into(jax.numpy.zeros(kernel.shape)))
        theirs = source["params"][f"heads_{name}"]["logits"]["kernel"]
        for here, there in taken.items():
            np.testing.assert_array_equal(put[:, here], theirs[:, there])


def test_a_published_model_starts_encoders_of_its_kind(tmp_path):
    fakes.write_clip(tmp_path / "clip")
    fakes.write_clip(tmp_path / "tuned", seed=1)
    config = cli.load_config(f"{ROOT}/configs/vqa.py:tiny")
    config.data.options = ConfigDict({"train": 16, "validation": 8, "test": 8})
    config.data.dir, config.mesh = str(tmp_path / "data"), {"data": 1}
    del config.encoders.image
    config.encoders.image = mmjax.pretrained(str(tmp_path / "clip"))
    config.init_from = str(tmp_path / "tuned")
    state, said = started(config, tmp_path / "run")
    assert f"init_from {tmp_path}/tuned: took" in said
    config.encoders.image.path = str(tmp_path / "tuned")
    expected, _ = pretrained.first_variables(config, factory.kind_of)
    backbone = expected["params"]["encoders_image"]["backbone"]
    assert_same(
        jax.device_get(state.params["encoders_image"]["backbone"]), jax.device_get(backbone)
    )
    del config.encoders.image
    config.encoders.image = ConfigDict({"name": "cnn"})
    with pytest.raises(UserError, match=r"set config.encoders.NAME = mmjax.pretrained"):
        warm_start._published(config, tmp_path / "tuned")
