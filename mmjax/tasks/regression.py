"""A number: how much, how long, how far."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from mmjax.models.heads import RegressionHead
from mmjax.tasks.answers import ONE_NUMBER
from mmjax.tasks.figures import scatter
from mmjax.tasks.keyed import PREDICTION
from mmjax.tasks.task import Answers, Arrays, Question, Task, TaskType, known_rows, make_task

NAME = "value"


def regression(question: Question) -> Task:
    """A task on the number [B] that the model puts out under its name.

    Model, losses and the metrics of rows see the target less its mean in training, over its
    standard deviation there; predictions and the metrics of a whole set are in its own unit.

    The target is float32 [B], scaled; the vocabulary: its mean and standard deviation in training.

    Returns:
        A task whose `predict` gives `value` [B].
    """
    mean, deviation = question.vocabulary or (0.0, 1.0)
    truth, predicted = question.truth, f"{PREDICTION}value"

    def predict(outputs):
        return {"value": outputs[question.name].astype(jnp.float32) * deviation + mean}

    def in_its_unit(rows: Arrays) -> Arrays:
        return {**rows, truth: np.asarray(rows[truth], np.float64) * deviation + mean}

    def known(rows: Arrays) -> tuple[np.ndarray, np.ndarray]:
        there, rows = known_rows(rows, question.target), in_its_unit(rows)
        return rows[truth][there], np.asarray(rows[predicted], np.float64)[there]

    def answer(rows: Arrays, _: Arrays, __: int | None) -> Answers:
        return [[{"answer": float(value)}] for value in rows["value"]]

    return make_task(
        question,
        predict=predict,
        keep=(predicted, truth, f"{truth}_mask"),
        on_host=in_its_unit,
        answer=answer,
        cells=ONE_NUMBER,
        baselines=lambda rows: {"rmse of the training mean": _rmse(known(rows)[0], mean)},
        figures=lambda rows: {"scatter": scatter(*known(rows))},
    )


def _rmse(truth: np.ndarray, guess: float) -> float:
    return float(np.sqrt(np.mean((truth - guess) ** 2))) if len(truth) else 0.0


def scaled(values: Mapping[str, Any], stored: Sequence[float] | None) -> tuple[Any, list[float]]:
    """Targets by split, less the mean of the training split over its standard deviation.

    Args:
        values: the targets, by split.
        stored: mean and deviation that the workdir has; None: they are measured.
    """
    if stored is None:
        train = values["train"]
        numbers = np.asarray(train.values, np.float64)
        numbers = numbers if train.mask is None else numbers[train.mask]
        stored = [float(numbers.mean()), float(numbers.std()) or 1.0] if len(numbers) else [0, 1]
    mean, deviation = stored
    found = {
        split: dataclasses.replace(
            target, values=((np.asarray(target.values) - mean) / deviation).astype(np.float32)
        )
        for split, target in values.items()
    }
    return found, list(stored)


REGRESSION = TaskType(
    make=regression,
    model="fused",
    name=NAME,
    heads={"regression": RegressionHead},
    targets=("a number",),
    encode=scaled,
    truth=("targets", "truth"),
    keys=("fusion", "head", "modality_dropout", "teachers"),
    needs=(("fusion",),),
    reads={
        "predictions": "{name}",
        "predicted": f"{PREDICTION}value",
    },
)
