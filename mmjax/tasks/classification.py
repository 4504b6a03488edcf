"""One label out of C classes: answering by choosing, recognising, sorting."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.tasks.bound import PREDICTION, Bound
from mmjax.tasks.task import Task, make_task
from mmjax.types import LABEL


def classification(
    *,
    modalities: tuple[str, ...],
    losses: Mapping[str, Bound],
    metrics: Mapping[str, Bound],
    whole_set: Mapping[str, Bound],
) -> Task:
    """A task on the logits [B C] that the model puts out as "label", and the labels of the batch.

    Args:
        modalities: the names of the inputs that the model is given.
        losses, metrics, whole_set: what is asked of the outputs, by name.

    Returns:
        A task whose `predict` gives `probabilities` [B C], `log_odds` [B C] and `label` [B].
    """

    def predict(outputs):
        return {
            "probabilities": jax.nn.softmax(outputs[LABEL].astype(jnp.float32)),
            "log_odds": log_odds(outputs[LABEL]),
            "label": jnp.argmax(outputs[LABEL], axis=-1),
        }

    return make_task(
        modalities=modalities,
        predict=predict,
        losses=losses,
        metrics=metrics,
        whole_set=whole_set,
        keep=(f"{PREDICTION}label",),
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
