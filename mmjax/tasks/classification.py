"""One label out of C classes: answering by choosing, recognising, sorting."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mmjax.models.heads import ClassificationHead
from mmjax.tasks.answers import ONE_CLASS, likeliest
from mmjax.tasks.figures import confusion
from mmjax.tasks.keyed import PREDICTION
from mmjax.tasks.task import Arrays, Question, Task, TaskType, known_rows, make_task, of_classes

NAME = "label"


def classification(question: Question) -> Task:
    """A task on the logits [B C] that the model puts out under its name.

    The target is int32 [B]; the vocabulary, the names of the classes, is for answers and reports.

    Returns:
        A task whose `predict` gives `probabilities` [B C], `log_odds` [B C] and `label` [B].
    """
    truth, predicted, name = question.truth, f"{PREDICTION}label", question.name

    def predict(outputs):
        return {
            "probabilities": jax.nn.softmax(outputs[name].astype(jnp.float32)),
            "log_odds": log_odds(outputs[name]),
            "label": jnp.argmax(outputs[name], axis=-1),
        }

    def baselines(rows: Arrays) -> dict[str, float]:
        labels = rows[truth][known_rows(rows, question.target)]
        return {"majority class": np.bincount(labels).max() / len(labels) if len(labels) else 0.0}

    def figures(rows: Arrays) -> dict:
        known = known_rows(rows, question.target)
        return {
            "confusion": confusion(rows[truth][known], rows[predicted][known], question.vocabulary)
        }

    return make_task(
        question,
        predict=predict,
        keep=(predicted, truth, f"{truth}_mask"),
        answer=lambda rows, _, top: likeliest(
            rows["log_odds"], rows["probabilities"], question.vocabulary, 3 if top is None else top
        ),
        cells=ONE_CLASS,
        probabilities=lambda rows, _: rows["probabilities"],
        baselines=baselines,
        figures=figures,
    )


def log_odds(logits: Float[Array, "B C"]) -> Float[Array, "B C"]:
    """log p / (1 - p) of each p = softmax(logits)_c: its logit less log sum exp of the others'.

    It is exact where p itself is 0.0 or 1.0 in float32; of a single class it is infinite.
    """
    logits = logits.astype(jnp.float32)
    # Beside an infinite logit all others have p = 0.
    sure = jnp.isposinf(jnp.max(logits, axis=-1, keepdims=True)) & ~jnp.isposinf(logits)
    log_p = jnp.where(sure, -jnp.inf, jax.nn.log_softmax(logits))
    # Only the highest has a p above 1/2, of which 1 - p would lose digits.
    highest = jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(highest, -jnp.inf, logits), axis=-1, keepdims=True)
    return jnp.where(highest, logits - others, log_p - jnp.log1p(-jnp.exp(log_p)))


CLASSIFICATION = TaskType(
    make=classification,
    model="fused",
    name=NAME,
    heads={"classification": ClassificationHead},
    targets=("a class",),
    encode=of_classes,
    truth=("labels",),
    keys=("decision", "fusion", "head", "mixup", "modality_dropout", "teachers"),
    needs=(("fusion", "decision"),),
)
