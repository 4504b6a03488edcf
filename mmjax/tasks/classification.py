"""One label out of C classes: answering by choosing, recognising, sorting."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from mmjax.tasks.task import Task, modality_inputs
from mmjax.types import LABEL


def classification(
    *,
    modalities: tuple[str, ...],
    losses: Mapping[str, Callable],
    metrics: Mapping[str, Callable],
    head: str = "label",
) -> Task:
    """A task on the logits [B C] that `head` puts out and the labels [B] of the batch.

    Args:
        modalities: the names of the inputs that the model is given.
        losses, metrics: functions (logits [B C], labels [B]) -> [B], by name.
        head: the name of the model's output.

    Returns:
        A task whose `predict` gives `probabilities` [B C] and `label` [B].
    """

    def predict(outputs):
        return {
            "probabilities": jax.nn.softmax(outputs[head].astype(jnp.float32)),
            "label": jnp.argmax(outputs[head], axis=-1),
        }

    def apply(functions, outputs, batch):
        return {name: f(outputs[head], batch[LABEL]) for name, f in functions.items()}

    return Task(
        inputs=lambda batch: modality_inputs(batch, modalities),
        losses=lambda outputs, batch: apply(losses, outputs, batch),
        metrics=lambda outputs, batch: apply(metrics, outputs, batch),
        predict=predict,
    )
