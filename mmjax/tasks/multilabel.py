"""Any number of labels out of C classes, each right or wrong by itself: tagging."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from mmjax.errors import UserError
from mmjax.metrics.dataset_metrics import best_thresholds
from mmjax.tasks.answers import ALL_CLASSES, likeliest
from mmjax.tasks.classification import CLASSIFICATION
from mmjax.tasks.keyed import PREDICTION
from mmjax.tasks.task import Arrays, Question, Task, known_rows, make_task

THRESHOLDS = "thresholds"


def multilabel(question: Question) -> Task:
    """A task on the logits [B C] that the model puts out under its name.

    A class is predicted where its probability reaches its threshold. Thresholds are tuned for the
    best F1 of each class on the validation split, after training.

    The target is float32 [B C], how right each class is, from 0 to 1; the vocabulary, the names of
    the classes, is for answers.

    Returns:
        A task whose `predict` gives `probabilities` [B C], each class by itself, and `log_odds`
        [B C], the logits. On the host probabilities are computed in float64, so that thresholds
        can be where those of float32 are all 1.0.
    """
    truth, log_odds = question.truth, f"{PREDICTION}log_odds"

    def tune(rows: Arrays) -> dict[str, np.ndarray]:
        known = known_rows(rows, question.target)
        return {THRESHOLDS: best_thresholds(exact(rows[log_odds][known]), rows[truth][known])}

    def predict(outputs):
        logits = outputs[question.name].astype(jnp.float32)
        return {"probabilities": jax.nn.sigmoid(logits), "log_odds": logits}

    def answer(rows: Arrays, tuned: Arrays, top: int | None) -> list:
        found = exact(rows["log_odds"])
        reached = thresholds(tuned, found.shape[-1])
        return likeliest(rows["log_odds"], found, question.vocabulary, top, reached)

    return make_task(
        question,
        predict=predict,
        keep=(log_odds, truth, f"{truth}_mask"),
        on_host=lambda rows: {**rows, f"{PREDICTION}probabilities": exact(rows[log_odds])},
        tune=tune,
        answer=answer,
        cells=ALL_CLASSES,
        probabilities=lambda rows, _: exact(rows["log_odds"]),
    )


def exact(log_odds: np.ndarray) -> np.ndarray:
    """Probabilities in float64, which tell log-odds apart up to 36; those of float32 up to 17."""
    return expit(np.asarray(log_odds, np.float64))


def thresholds(tuned: Arrays, classes: int) -> np.ndarray:
    """Those of the validation split [C]; 0.5 before the end of training.

    Raises:
        UserError: there is not one for each class.
    """
    found = np.asarray(tuned.get(THRESHOLDS, np.full(classes, 0.5)))
    if found.shape != (classes,) or not np.isfinite(found).all():
        raise UserError(
            f"tuned.json has not a threshold for each of {classes} labels: restore it, or delete it"
            " to use 0.5"
        )
    return found


MULTILABEL = dataclasses.replace(
    CLASSIFICATION, make=multilabel, targets=("several classes",), truth=("targets",)
)
