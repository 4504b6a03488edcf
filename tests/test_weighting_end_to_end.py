"""Weightings and aggregators in whole runs: resumed bit for bit, and on eight devices as on one."""

import functools

import jax
import numpy as np
import pytest
from rich.console import Console

from mmjax import cli, factory
from mmjax.tasks.task import inputs_of
from mmjax.train.run import Run
from tests import restart

SPECS = {
    "agm": {"name": "agm"},
    "db_mtl": {"name": "db_mtl"},
    "famo": {"name": "famo"},
    "gradvac": {"name": "gradvac"},
    "pmr": {"name": "pmr", "mu": 0.5},
    "uncertainty": {"name": "uncertainty"},
}


def config_with(spec, steps=8, recipe="fusion:tasks", **mesh):
    config = cli.load_config(recipe)
    with config.unlocked():
        config.weighting, config.compilation_cache = spec, ""
        config.data.batch_size = 16
        config.data.options.update({"train": 64, "validation": 32, "test": 32})
        config.train.update({"steps": steps, "eval_every": 0, "log_every": 4})
        config.optimizer.update({"schedule": "constant", "warmup_steps": 0})
        config.mesh = {"data": 1, "fsdp": 1, "tensor": 1, **mesh}
    return factory.checked(config)


@pytest.mark.parametrize("name", SPECS)
def test_a_run_goes_on_bit_for_bit(name, tmp_path):
    config = config_with(SPECS[name])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    restart.start(config, whole)
    restart.start(config, parts, stop=5)
    restart.start(config, parts)
    state = restart.assert_same_checkpoint(whole, parts, 8)
    own = (*factory.LOSS_WEIGHTINGS, *factory.FEATURE_LOSSES)
    kept = state["weighting"] if name in own else state["opt_state"][0]
    assert any(np.asarray(x).any() for x in jax.tree.leaves(kept))


SEEN_ALONE = {
    "ogm_ge": {"name": "ogm_ge", "noise": False},
    "mmpareto": {"name": "mmpareto"},
    "sum": {"name": "fixed", "alone": True},
    "pcgrad": {"name": "pcgrad", "alone": True, "one_by_one": True},
}


@pytest.mark.parametrize("name", SEEN_ALONE)
def test_the_loss_of_each_modality_alone_is_that_of_the_model_given_no_other(name, tmp_path):
    config = config_with(SEEN_ALONE[name], recipe="fusion:tiny")
    config.fusion.dropout = 0.0
    path, experiment = factory.experiment(config, str(tmp_path))
    run = Run(experiment, path, Console(quiet=True))
    batch, state = run.put(next(experiment.train_data())), run.start()
    params = jax.tree.map(np.asarray, state.params)
    new, metrics = run.train_step(state, batch)
    assert int(new.skipped) == 0
    (task,) = experiment.tasks.values()
    inputs = inputs_of(experiment.tasks, batch)
    for modality in config.modalities:
        outputs = experiment.model.apply({"params": params}, {modality: inputs[modality]})
        (rows,) = task.losses(outputs, batch).values()
        expected = float(rows.value.mean())
        assert float(metrics[f"alone/{modality}"].compute()) == pytest.approx(expected, rel=1e-4)
    moved = jax.tree.map(lambda a, b: np.abs(a - np.asarray(b)).max(), params, new.params)
    assert all(x > 0 for x in jax.tree.leaves(moved))


@pytest.mark.parametrize("name", ["mgda", "upgrad", "nash_mtl", "pmr"])
def test_eight_devices_are_as_one(name, tmp_path):
    @functools.cache
    def losses(**mesh):
        config = config_with({"name": name}, **mesh)
        path, experiment = factory.experiment(config, str(tmp_path / str(mesh["fsdp"])))
        run = Run(experiment, path, Console(quiet=True))
        data, state, found = experiment.train_data(), run.start(), []
        for _ in range(4):
            state, metrics = run.train_step(state, run.put(next(data)))
            found.append(float(metrics["loss"].compute()))
        return found

    np.testing.assert_allclose(
        losses(data=2, fsdp=2, tensor=2), losses(data=1, fsdp=1, tensor=1), rtol=1e-4
    )
