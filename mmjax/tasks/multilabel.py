"""Any number of labels out of C classes, each right or wrong by itself: tagging."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from mmjax.metrics.whole_set import best_thresholds
from mmjax.tasks.bound import BATCH, PREDICTION, Bound
from mmjax.tasks.task import Task, make_task
from mmjax.types import LABEL, MASK, TARGETS

THRESHOLDS = "thresholds"


def multilabel(
    *,
    modalities: tuple[str, ...],
    losses: Mapping[str, Bound],
    metrics: Mapping[str, Bound],
    whole_set: Mapping[str, Bound],
) -> Task:
    """A task on the logits [B C] that the model puts out as "label", and the batch's "targets".

    A class is predicted where its probability reaches its threshold. Thresholds are tuned for the
    best F1 of each class on the validation split, after training.

    Args:
        modalities: the names of the inputs that the model is given.
        losses, metrics, whole_set: what is asked of the outputs, by name.

    Returns:
        A task whose `predict` gives `probabilities` [B C], each class by itself, and `log_odds`
        [B C], the logits. On the host probabilities are computed in float64, so that thresholds
        can be where those of float32 are all 1.0.
    """
    probabilities, targets = f"{PREDICTION}probabilities", BATCH + TARGETS
    log_odds = f"{PREDICTION}log_odds"

    def tune(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        real = rows[BATCH + MASK]
        return {THRESHOLDS: best_thresholds(exact(rows[log_odds][real]), rows[targets][real])}

    def predict(outputs):
        logits = outputs[LABEL].astype(jnp.float32)
        return {"probabilities": jax.nn.sigmoid(logits), "log_odds": logits}

    task = make_task(
        modalities=modalities,
        predict=predict,
        losses=losses,
        metrics=metrics,
        whole_set=whole_set,
        keep=(log_odds, targets),
        tune=tune,
    )

    def of_the_whole_set(rows: Mapping[str, np.ndarray]) -> dict[str, float]:
        return task.whole_set({**rows, probabilities: exact(rows[log_odds])})

    return dataclasses.replace(task, whole_set=of_the_whole_set)


def exact(log_odds: np.ndarray) -> np.ndarray:
    """Probabilities in float64, which tell log-odds apart up to 36; those of float32 up to 17."""
    return expit(np.asarray(log_odds, np.float64))
