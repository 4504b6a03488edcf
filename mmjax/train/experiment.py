"""All that a run needs, built: no config from here on."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import optax
from jax.sharding import Mesh

from mmjax.tasks.task import Task
from mmjax.train.loop import Schedule
from mmjax.train.partition import Base, Params
from mmjax.train.weighting import FeatureLoss, LossWeighting, Weight
from mmjax.train.weighting.shared import on_shared
from mmjax.types import Input


class Baselines(NamedTuple):
    """What a task's results are compared with.

    metric: of the task, by its name.
    scores: of other models on the same rows, by what they are.
    """

    metric: str
    scores: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A model, tasks, data and a way to train.

    model, tasks: what is learned, and what is asked of it, by name.
    example: inputs of one row, to initialise the model with.
    make_optimizer: parameters (or their shapes) -> (optimizer, learning rate of a step).
    weights: of each task's losses, by label: numbers or functions of the step.
    weighting: of the tasks among each other.
    aggregator: of the gradients [tasks ...] of tasks, before the optimizer; None: of their sum.
    modulator: of the gradient, before the optimizer, by what each modality is good for alone.
    alone: the modalities whose losses alone are measured; without a modulator, also learned from.
    feature_loss: of what encoders put out, beside those of the tasks; not with an aggregator.
    one_by_one: whether these gradients are computed one after the other.
    augment: (key, batch) -> batch, on the device.
    ema_decay: of the moving average of the parameters; 0 keeps none.
    seed: of the parameters, dropout and augmentation.
    train_data: () -> a Grain iterator over batches.
    eval_data: split -> batches, each example once.
    sizes: images (or other records) and examples of each split.
    slices: names of the slices that metrics are also given for.
    first_variables: () -> what the model starts with instead of drawn values, by collection and
        path, and lines that say where it came from.
    trains: parameters -> which of them train, as a tree of booleans; None if all do.
    base: parameters -> what the checkpoints leave out; None if they hold all.
    parallel: how a step is taken on them, a name in `parallel.PARALLEL`.
    mesh, schedule, keep: the devices, what happens when, and how many checkpoints stay.
    baselines: () -> what the results of each task are compared with; None for nothing.
    notes: lines to print before a run that goes on with another config.
    """

    model: nn.Module
    tasks: Mapping[str, Task]
    example: Mapping[str, Input]
    make_optimizer: Callable[[Any], tuple[optax.GradientTransformation, Callable[[int], float]]]
    weights: Mapping[str, Mapping[str, Weight]]
    weighting: LossWeighting
    augment: Callable
    ema_decay: float
    seed: int
    train_data: Callable[[], Any]
    eval_data: Callable[[str], Iterable]
    sizes: Mapping[str, tuple[int, int]]
    slices: tuple[str, ...]
    first_variables: Callable[[], tuple[dict[str, Any], list[str]]]
    trains: Callable[[Any], Any]
    base: Callable[[Any], Base | None]
    mesh: Mesh
    schedule: Schedule
    keep: int
    parallel: str = "auto"
    baselines: Callable[[], Mapping[str, Baselines]] | None = None
    notes: tuple[str, ...] = ()
    aggregator: optax.GradientTransformation | None = None
    one_by_one: bool = False
    modulator: optax.GradientTransformation | None = None
    alone: tuple[str, ...] = ()
    feature_loss: FeatureLoss | None = None

    def whole_optimizer(
        self, params: Params, trains: Params | None
    ) -> tuple[optax.GradientTransformation, Callable[[int], float]]:
        """The optimizer with what comes before it, and the learning rate of a step.

        Args:
            params: or their shapes.
            trains: see `trains`.
        """
        optimizer, learning_rate = self.make_optimizer(params)
        if self.aggregator is not None:
            optimizer = optax.chain(on_shared(self.aggregator, trains), optimizer)
        if self.modulator is not None:
            optimizer = optax.chain(self.modulator, optimizer)
        return optimizer, learning_rate

    def first_weighting(self, variables: Mapping[str, Any]) -> Any:
        """The state of the weighting, or of the loss of features, before the first step.

        Args:
            variables: of the model, or their shapes.
        """
        if self.feature_loss is None:
            learned = self.alone if self.modulator is None else ()
            return self.weighting.init(len(self.tasks) + len(learned))
        outputs = jax.eval_shape(self.model.apply, variables, inputs=dict(self.example))
        return self.feature_loss.init(outputs)
