"""Weightings and aggregators in whole runs: resumed bit for bit, and on eight devices as on one."""

import functools

import jax
import numpy as np
import pytest
from rich.console import Console

from mmjax import cli, factory
from mmjax.train.run import Run
from tests import restart

SPECS = {
    "db_mtl": {"name": "db_mtl"},
    "famo": {"name": "famo"},
    "gradvac": {"name": "gradvac"},
    "uncertainty": {"name": "uncertainty"},
}


def config_with(spec, steps=8, **mesh):
    config = cli.load_config("fusion:tasks")
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
    kept = state["weighting"] if name in factory.LOSS_WEIGHTINGS else state["opt_state"]
    assert any(np.asarray(x).any() for x in jax.tree.leaves(kept))


@pytest.mark.parametrize("name", ["mgda", "upgrad", "nash_mtl"])
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
