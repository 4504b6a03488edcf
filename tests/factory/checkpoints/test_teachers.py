"""Encoders of other runs teach: they are what was trained there, stay so, and stay in the run."""

import functools
import shutil

import jax
import numpy as np
import pytest
from rich.console import Console

import mmjax
from mmjax import cli, factory
from mmjax.errors import UserError
from mmjax.factory.checkpoints.warm_start import trained
from mmjax.tasks.task import inputs_of
from mmjax.train.run import Run
from tests import restart

NAMES = ("a", "b", "c")


def config_of(names=NAMES, teachers=None, steps=4):
    config = cli.load_config("fusion:tiny")
    with config.unlocked():
        config.modalities, config.fusion = names, {"name": "concat"}
        config.compilation_cache = ""
        config.data.batch_size = 16
        config.data.options.update({"train": 64, "validation": 32, "test": 32})
        config.train.update({"steps": steps, "eval_every": 0, "log_every": 2})
        config.optimizer.update({"schedule": "constant", "warmup_steps": 0})
        config.mesh = {"data": 1, "fsdp": 1, "tensor": 1}
        if teachers:
            config.teachers = teachers
            for name in teachers:
                config.losses[f"teacher_{name}"] = {
                    "name": "feature_distillation",
                    "features": f"encoder/{name}",
                    "teacher": f"teacher/{name}",
                    "weight": 0.5,
                }
    return factory.checked(config)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A workdir of one modality alone."""
    path = tmp_path_factory.mktemp("teacher") / "a"
    restart.start(config_of(("a",), steps=3), path)
    return path


def of_teacher(params):
    return params["teachers_a"]


def test_a_teacher_is_what_was_trained_and_its_loss_the_distance_from_it(teacher, tmp_path):
    path, experiment = factory.experiment(config_of(teachers={"a": str(teacher)}), str(tmp_path))
    run = Run(experiment, path, Console(quiet=True))
    batch, state = run.put(next(experiment.train_data())), run.start()
    params = jax.tree.map(np.asarray, state.params)
    found, _ = trained(teacher, "")
    known = {"/".join(k[2:]): v for k, v in found.items() if k[1] == "encoders_a"}
    (leaves, _) = jax.tree_util.tree_flatten_with_path(of_teacher(params))
    assert len(leaves) == len(known) > 0
    for at, value in leaves:
        np.testing.assert_array_equal(value, known["/".join(key.key for key in at)])

    inputs = inputs_of(experiment.tasks, batch)
    outputs = experiment.model.apply({"params": params}, inputs)
    there = np.asarray(outputs["teacher/a_mask"])
    assert 0 < there.sum() < len(there)
    np.testing.assert_array_equal(outputs["teacher/a"][~there], 0)
    assert "teacher/b" not in outputs
    gap = np.asarray(outputs["encoder/a"] - outputs["teacher/a"])[there]
    new, metrics = run.train_step(state, batch)
    expected = (gap**2).sum(axis=1).mean() / 2
    assert float(metrics["teacher_a"].compute()) == pytest.approx(expected, rel=1e-5)
    assert expected > 0
    restart.assert_same(of_teacher(new.params), of_teacher(params))
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), params["encoders_a"], new.params["encoders_a"]
    )
    assert all(x > 0 for x in jax.tree.leaves(moved))


def test_a_run_goes_on_bit_for_bit_and_is_loaded_without_the_teachers_workdir(teacher, tmp_path):
    gone = tmp_path / "gone"
    shutil.copytree(teacher, gone)
    config = config_of(teachers={"a": str(gone)})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    restart.start(config, whole)
    restart.start(config, parts, stop=2)
    shutil.rmtree(gone)
    restart.start(config, parts)
    restart.assert_same_checkpoint(whole, parts, 4)
    model = mmjax.load(parts)
    zeros = np.zeros(16, np.float32)
    assert model(a=zeros, b=zeros)[0]["answer"] in ("0", "1")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("teachers.z", "x", "config.teachers: unknown 'z'"),
        ("teachers.a", "/nothing", "config.teachers.a=/nothing: it is no workdir in which"),
        ("teachers.b", "TEACHER", "it has no encoder of 'b'; it has a"),
        ("width", 16, "config.width is 32 there and 16 here"),
        ("encoders.a.hidden", (8,), r"config.encoders.a is .* here: make them equal"),
        ("tuning", {"name": "bitfit"}, "would tune the encoders of config.teachers"),
        ("decision", "average", "config.decision with config.teachers"),
    ],
)
def test_mistakes_are_one_line(key, value, words, teacher, tmp_path):
    config = config_of(teachers={"a": str(teacher)})
    *groups, last = key.split(".")
    node = functools.reduce(lambda node, group: node[group], groups, config)
    with config.unlocked():
        node[last] = str(teacher) if value == "TEACHER" else value
    with pytest.raises(UserError, match=words):
        factory.experiment(config, str(tmp_path))


def test_a_teacher_that_saw_other_numbers_is_refused(teacher, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(teacher, other)
    (other / "scales.json").write_text('{"a": {"mean": [1.0], "deviation": [2.0]}}')
    config = config_of(teachers={"a": str(other)})
    path, experiment = factory.experiment(config, str(tmp_path / "run"))
    with pytest.raises(UserError, match=r"its scales.json is not that of this run"):
        Run(experiment, path, Console(quiet=True)).start()
