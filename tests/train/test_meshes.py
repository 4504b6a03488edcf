"""A step computes the same on every mesh of eight devices, for every configuration's `:tiny`."""

import dataclasses
import functools
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from mmjax import cli, factory
from mmjax.factory.make_experiment import leading_sizes
from mmjax.train import sharding
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


class Trainer:
    """A recipe that is made once, with its batches and its first state on one device."""

    def __init__(self, recipe, directory):
        function, *arguments = RECIPES[recipe]
        config = function(*arguments)
        self.path, self.experiment = factory.experiment(config, str(directory))
        self.rows = leading_sizes(config)
        data = self.experiment.train_data()
        self.batches = list(itertools.islice(data, STEPS))
        data.close()
        self.first = self.run((1, 1, 1)).start()
        self.alone = self.steps((1, 1, 1))

    def run(self, mesh):
        devices = dict(zip(("data", "fsdp", "tensor"), mesh, strict=True))
        made = sharding.make_mesh(**devices, rows=self.rows)
        experiment = dataclasses.replace(self.experiment, mesh=made)
        return Run(experiment, self.path, Console(quiet=True))

    def steps(self, mesh, drawn=False):
        """The loss and the norm of the gradient of ten steps, [10 2].

        Args:
            mesh: data, fsdp and tensor.
            drawn: whether the first state is drawn there, or is that of one device.
        """
        run, lines = self.run(mesh), []
        # A copy, for steps use up their state.
        first = jax.tree.map(jnp.copy, self.first)
        shardings = jax.tree.map(lambda x: x.sharding, run.abstract_state)
        state = run.start() if drawn else jax.device_put(first, shardings)
        for batch in self.batches:
            state, metrics = run.train_step(state, run.put_training(batch))
            lines.append([float(metrics[name].compute()) for name in ("loss", "grad_norm")])
        return np.asarray(lines)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """recipe -> Trainer."""
    return functools.cache(lambda recipe: Trainer(recipe, tmp_path_factory.mktemp(recipe)))


WHOLE = (2, 2, 2)  # all axes at once
# A ResNet takes ten seconds to compile, for each mesh anew; its layers are the same in all recipes.
FEW = {"resnet": [WHOLE], "trimodal": [WHOLE, (8, 1, 1), (1, 8, 1), (1, 1, 8)]}
CASES = [(name, mesh) for name in RECIPES for mesh in FEW.get(name, MESHES)]


@pytest.mark.parametrize(("recipe", "mesh"), CASES, ids=str)
def test_ten_steps_are_those_of_one_device(recipe, mesh, trainer):
    made = trainer(recipe)
    np.testing.assert_allclose(made.steps(mesh, drawn=mesh == WHOLE), made.alone, rtol=2e-5)
