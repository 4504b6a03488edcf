"""The contract of a task: one question that is asked of a model, whole.

A `Task` is a value made of pure functions. A `TaskType` is how a config makes one: an entry of the
table `mmjax.factory.tables.tasks.TASKS`. No other room knows which task it works for.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mmjax.errors import UserError
from mmjax.tasks.answers import Cells
from mmjax.tasks.keyed import BATCH, PREDICTION, KeyedFunction, named
from mmjax.types import MASK, SLICE, TARGETS, Batch, Input, Rows

Outputs = Mapping[str, jax.Array]
Arrays = Mapping[str, np.ndarray]
Answers = list[list[dict[str, Any]]]
KEPT = (BATCH + SLICE, BATCH + MASK)  # of every evaluation


@dataclasses.dataclass(frozen=True)
class Task:
    """Pure functions between a batch, the outputs of a model and a user.

    modalities: the inputs that the model is given for it.
    losses: (outputs, batch) -> one value for each row, by name.
    metrics: (outputs, batch) -> one value for each row, by name.
    predict: outputs -> what a user wants to see, [B ...] arrays by name.
    keep: (outputs, batch) -> what `dataset_metrics` and reports read of each row, by name.
    dataset_metrics: on the host, what was kept of all rows and what was tuned -> metrics that no
        mean over rows gives, by name.
    tune: on the host, what was kept of the validation split -> what later predictions use.
    answer: on the host, (predictions of n rows, what was tuned, how many at most) -> for each row a
        list of answers, best first. None: the task gives embeddings.
    cells: how answers stand in a table; None as of `answer`.
    probabilities: (predictions, what was tuned) -> [n C], of every class. None: there are none.
    baselines: on the host, what was kept of some rows -> results of trivial answers, by name.
    figures: on the host, what was kept of all rows -> pictures of a report, by file name.
    """

    modalities: tuple[str, ...]
    losses: Callable[[Outputs, Batch], dict[str, Rows]]
    metrics: Callable[[Outputs, Batch], dict[str, Rows]]
    predict: Callable[[Outputs], dict[str, Any]]
    keep: Callable[[Outputs, Batch], dict[str, jax.Array]]
    dataset_metrics: Callable[[Arrays], dict[str, float]]
    tune: Callable[[Arrays], dict[str, np.ndarray]] = lambda _: {}
    answer: Callable[[Arrays, Arrays, int | None], Answers] | None = None
    cells: Cells | None = None
    probabilities: Callable[[Arrays, Arrays], np.ndarray] | None = None
    baselines: Callable[[Arrays], dict[str, float]] = lambda _: {}
    figures: Callable[[Arrays], dict[str, Any]] = lambda _: {}


def no_targets(values: Mapping[str, Any], stored: Sequence[Any] | None) -> tuple[Any, list]:
    """The `encode` of a task that is asked for nothing: the values as they are."""
    del stored
    return values, []


def of_classes(values: Mapping[str, Any], stored: Sequence[Any] | None) -> tuple[Any, list]:
    """The `encode` of a task of classes: the names of the training split, values as they are."""
    del stored
    return values, list(values["train"].classes)


@dataclasses.dataclass(frozen=True)
class Question:
    """What a task is made of.

    modalities: the names of the inputs that the model is given.
    losses, metrics, dataset_metrics: what is asked of the outputs, by name.
    name: of the task, and of what the model puts out for it.
    target: of the batch; "" where none is needed.
    vocabulary: what the values of the target stand for, as `TaskType.encode` gives it; () where
        that is not known.
    """

    modalities: tuple[str, ...]
    losses: Mapping[str, KeyedFunction]
    metrics: Mapping[str, KeyedFunction]
    dataset_metrics: Mapping[str, KeyedFunction]
    name: str
    target: str = ""
    vocabulary: Sequence[Any] = ()

    @property
    def truth(self) -> str:
        """What the target is called among what was kept of an evaluation."""
        return BATCH + TARGETS + self.target


@dataclasses.dataclass(frozen=True)
class TaskType:
    """How a config makes a task.

    make: Question -> Task.
    model: which model answers, a name in `mmjax.factory.make_model.MODELS`.
    name: of the only task of a config; the model's output of this name is its head's.
    heads: what `head.name` may say; the first is the default. {}: the model has no head for it.
    targets: the types of target that it can answer (see data.sources.targets); (): none is needed.
    encode: (target by split, what the workdir has stored or None) -> (the targets as the batch has
        them, what the values stand for: class names, characters, a scale; it is stored).
    check: (shapes of the model's outputs, the targets by split as the data set gives them, its
        name) -> lines of warning; raises UserError where the model cannot give what is asked.
    space: where what losses compare is by default: "encoder/" or "embedding/".
    keys: the parts of a config that are for it and not for every task.
    needs: those of them that must be there, each a tuple of alternatives.
    truth: the parameters of losses and metrics that are given the target.
    reads: what losses and metrics read for other parameters, in place of `usual_reads` or beside
        it, as formats of {name} and {target}.
    """

    make: Callable[[Question], Task]
    model: str
    name: str
    heads: Mapping[str, Callable] = dataclasses.field(default_factory=dict)
    targets: tuple[str, ...] = ()
    encode: Callable[..., tuple[Any, list]] = no_targets
    check: Callable[..., list[str]] = lambda *_: []
    space: str = "encoder/"
    keys: tuple[str, ...] = ()
    needs: tuple[tuple[str, ...], ...] = ()
    truth: tuple[str, ...] = ()
    reads: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def given(self, name: str, target: str) -> dict[str, str]:
        """What a loss or a metric of a task reads for each parameter that its config leaves out."""
        own = {parameter: x.format(name=name, target=target) for parameter, x in self.reads.items()}
        truth = dict.fromkeys(self.truth, BATCH + TARGETS + target)
        return usual_reads(name) | truth | own


def usual_reads(name: str) -> dict[str, str]:
    """What parameters of losses and metrics mostly are, for a task and its output of this name."""
    return {
        "component_log_variance": "fusion/component_log_variance",
        "component_mean": "fusion/component_mean",
        "component_weight": "fusion/component_weight",
        "hypotheses": f"{PREDICTION}written",
        "log_odds": f"{PREDICTION}log_odds",
        "log_variance": "fusion/log_variance",
        "logits": name,
        "mean": "fusion/mean",
        "predicted": f"{PREDICTION}label",
        "probabilities": f"{PREDICTION}probabilities",
    }


def modality_inputs(batch: Batch, modalities: Sequence[str]) -> dict[str, Input]:
    """The inputs of a batch by its keys: NAME, NAME_mask, NAME_index and NAME_id (see types)."""
    return {
        name: Input(batch[name], *(batch.get(f"{name}_{part}") for part in ("mask", "index", "id")))
        for name in modalities
    }


def inputs_of(tasks: Mapping[str, Task], batch: Batch) -> dict[str, Input]:
    """The inputs of a model of several tasks: all that any of them is given."""
    names = dict.fromkeys(name for task in tasks.values() for name in task.modalities)
    return modality_inputs(batch, tuple(names))


def prefix(tasks: Mapping[str, Task], name: str) -> str:
    """What names of a task's results begin with: "NAME/" where there are several tasks."""
    return f"{name}/" if len(tasks) > 1 else ""


def make_task(
    question: Question,
    *,
    predict: Callable[[Outputs], dict[str, Any]],
    keep: tuple[str, ...] = (),
    on_host: Callable[[Arrays], Arrays] = lambda rows: rows,
    **options: Any,
) -> Task:
    """A task whose losses and metrics say themselves what they read.

    Args:
        question: what it is made of.
        predict: outputs -> predictions.
        keep: names of what is kept of an evaluation besides what `dataset_metrics` reads.
        on_host: makes of what was kept what `dataset_metrics` reads.
        options: the rest of Task.
    """

    def apply(
        functions: Mapping[str, KeyedFunction], outputs: Outputs, batch: Batch
    ) -> dict[str, Rows]:
        values = named(outputs, batch, predict(outputs))
        return {name: function(values) for name, function in functions.items()}

    def kept(outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        values = named(outputs, batch, predict(outputs))
        for function in question.dataset_metrics.values():
            function.arrays(values)  # an unknown name is an error
        names = [*KEPT, *keep, *(n for f in question.dataset_metrics.values() for n in f.kept())]
        return {name: values[name] for name in dict.fromkeys(names) if name in values}

    def of_dataset(rows: Arrays) -> dict[str, float]:
        rows, found = on_host(rows), {}
        for name, function in question.dataset_metrics.items():
            found |= function.on_host(name, rows)
        return found

    return Task(
        modalities=question.modalities,
        losses=lambda outputs, batch: apply(question.losses, outputs, batch),
        metrics=lambda outputs, batch: apply(question.metrics, outputs, batch),
        predict=predict,
        keep=kept,
        dataset_metrics=of_dataset,
        **options,
    )


def of_slice(task: Task, number: int) -> Task:
    """The task, asked of the examples of one slice only; others count as if they were not there.

    Args:
        number: of the slice, as in a batch's `slice`.
    """

    def narrowed(batch: Batch) -> Batch:
        only = batch[SLICE] == number  # of targets, too: examples may be mixed with others
        known = {
            key: mask & only.reshape(-1, *[1] * (mask.ndim - 1))
            for key, mask in batch.items()
            if key == MASK or (key.startswith(TARGETS) and key.endswith("_mask"))
        }
        return {**batch, **known}

    return dataclasses.replace(
        task,
        losses=lambda outputs, batch: task.losses(outputs, narrowed(batch)),
        metrics=lambda outputs, batch: task.metrics(outputs, narrowed(batch)),
        keep=lambda outputs, batch: task.keep(outputs, narrowed(batch)),
    )


def known_rows(rows: Arrays, target: str) -> np.ndarray:
    """Which rows of an evaluation have a target."""
    key = BATCH + TARGETS + target
    return np.asarray(rows[BATCH + MASK] & rows.get(f"{key}_mask", True))


def check_type(found: str, wanted: Sequence[str], where: str) -> None:
    """Raises a UserError where a target is of a type that a task cannot answer."""
    if found not in wanted:
        raise UserError(f"{where}: it is {found}, and this task answers {' or '.join(wanted)}")
