"""A small experiment for the tests of training: a linear model on vectors."""

import dataclasses

import flax.linen as nn
import grain.python as grain
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.losses.targets.classification import cross_entropy
from mmjax.metrics.classification import accuracy
from mmjax.metrics.dataset_metrics import roc_auc
from mmjax.tasks.classification import classification
from mmjax.tasks.keyed import KeyedFunction
from mmjax.tasks.task import Question, inputs_of
from mmjax.train import optimizer
from mmjax.train.state import create_state
from mmjax.train.step import train_step
from mmjax.train.weighting import fixed

READS = {"logits": "label", "labels": "batch/targets/label"}
TASK = classification(
    Question(
        modalities=("vector",),
        losses={"cross_entropy": KeyedFunction(cross_entropy, READS, "config.losses")},
        metrics={"accuracy": KeyedFunction(accuracy, READS, "config.metrics")},
        dataset_metrics={
            "roc_auc": KeyedFunction(
                roc_auc,
                {"log_odds": "prediction/log_odds", "labels": "batch/targets/label"},
                "config.metrics",
            )
        },
        name="label",
        target="label",
    )
)
TASKS = {"label": TASK}
CLASSES, FEATURES = 3, 4


class Linear(nn.Module):
    dropout: float = 0.0
    batch_norm: bool = False

    @nn.compact
    def __call__(self, inputs, *, deterministic=True):
        x = nn.Dropout(self.dropout, deterministic=deterministic)(inputs["vector"].value)
        if self.batch_norm:
            x = nn.BatchNorm(deterministic, momentum=0.9)(x)
        return {"label": nn.Dense(CLASSES)(x)}


def make_batch(rows=8, real=None, seed=0):
    rng = np.random.default_rng(seed)
    real = rows if real is None else real
    return {
        "vector": rng.normal(size=(rows, FEATURES)).astype(np.float32),
        "targets/label": rng.integers(CLASSES, size=rows).astype(np.int32),
        "slice": (np.arange(rows) % 2).astype(np.int32),
        "_mask": np.arange(rows) < real,
    }


def no_augment(key, batch):
    del key
    return batch


@dataclasses.dataclass
class Toy:
    """State and step; `step(state, batch)` is jitted."""

    dropout: float = 0.0
    ema: float = 0.0
    rate: float = 0.1
    batch_norm: bool = False

    def __post_init__(self):
        self.model = Linear(self.dropout, self.batch_norm)
        inputs = inputs_of(TASKS, {"vector": jnp.zeros((1, FEATURES))})
        variables = self.model.init(jax.random.PRNGKey(0), inputs)
        self.optimizer = optimizer.make_optimizer(
            optimizer.adamw(lambda _: self.rate, weight_decay=0.1), params=variables["params"]
        )
        self.state = create_state(variables, self.optimizer, 0, ema=self.ema > 0)
        self.step = jax.jit(self.raw_step)

    def raw_step(self, state, batch, **changes):
        """Not jitted; `changes`: other arguments of `train_step`."""
        usual = {
            "model": self.model,
            "tasks": TASKS,
            "weights": {"label": {"cross_entropy": 1.0}},
            "weighting": fixed([1.0]),
            "optimizer": self.optimizer,
            "augment": no_augment,
            "ema_decay": self.ema,
        }
        return train_step(state, batch, **usual | changes)


class Stream(grain.DatasetIterator):
    """Batches that depend on their position alone."""

    def __init__(self):
        super().__init__()
        self.position = 0

    def __next__(self):
        self.position += 1
        return make_batch(seed=self.position)

    def get_state(self):
        return {"position": self.position}

    def set_state(self, state):
        self.position = state["position"]


def same(a, b):
    """Whether two trees are equal bit for bit."""
    leaves_a, leaves_b = jax.tree.leaves(a), jax.tree.leaves(b)
    pairs = zip(leaves_a, leaves_b, strict=True)
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in pairs)
