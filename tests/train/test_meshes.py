"""A step computes the same on every mesh of eight devices, for every configuration's `:tiny`."""

import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mmjax import cli, factory
from mmjax.train.run import Run

CONFIGS = Path(__file__).parent.parent.parent / "configs"
STEPS = 10
MESHES = [m for m in itertools.product((1, 2, 4, 8), repeat=3) if np.prod(m) == 8]


def tiny(name):
    """A `:tiny` with a learning rate that counts from the first step on."""
    config, _ = factory.filled(cli.load_config(f"{CONFIGS / name}.py:tiny"))
    config.optimizer.warmup_steps = 0
    return config


def in_small_steps(name):
    """Of batch norms, whose statistics are over all devices: great steps enlarge rounding."""
    config = tiny(name)
    config.optimizer.learning_rate = 1e-5
    return config


def residual():
    config = in_small_steps("vqa")
    config.encoders.image = {"name": "resnet", "depth": 10, "channels": 16, "stem": "small"}
    return config


RECIPES = {path.stem: (tiny, path.stem) for path in sorted(CONFIGS.glob("*.py"))}
RECIPES["trimodal"] = (in_small_steps, "trimodal")
RECIPES["resnet"] = (residual,)


def train(recipe, mesh, directory):
    """The loss and the norm of the gradient of ten steps, [10 2]."""
    function, *arguments = RECIPES[recipe]
    config = function(*arguments)
    config.mesh = dict(zip(("data", "fsdp", "tensor"), mesh, strict=True))
    path, experiment = factory.experiment(config, str(directory))
    run = Run(experiment, path, Console(quiet=True))
    data, state, lines = experiment.train_data(), run.start(), []
    for _ in range(STEPS):
        state, metrics = run.train_step(state, run.put(next(data)))
        lines.append([float(metrics[name].compute()) for name in ("loss", "grad_norm")])
    return np.asarray(lines)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """recipe -> its ten steps on one device."""
    return functools.cache(lambda recipe: train(recipe, (1, 1, 1), tmp_path_factory.mktemp(recipe)))


CASES = [(name, mesh) for name in RECIPES for mesh in MESHES if name != "resnet"]


@pytest.mark.parametrize(("recipe", "mesh"), [*CASES, ("resnet", (2, 2, 2))], ids=str)
def test_ten_steps_are_those_of_one_device(recipe, mesh, alone, tmp_path):
    np.testing.assert_allclose(train(recipe, mesh, tmp_path), alone(recipe), rtol=2e-5)
