"""Embeddings of several modalities in one space: finding what belongs together."""

import itertools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.tasks.task import Question, Task, TaskType, make_task

NAME = "alignment"
EMBEDDING, MATCH = "embedding/", "match/"
READS = {name: f"matching/{name}" for name in ("scores", "targets", "pairs")}


def alignment(question: Question) -> Task:
    """A task on the embeddings [B E] that the model puts out as "embedding/MODALITY".

    A model with a matcher also puts out "match/FIRST-SECOND" [B], the logit that an example's two
    belong together. There is one space, no target and no answer.

    Returns:
        A task whose `predict` gives the embedding of each modality by its name, and the probability
        of each match by "match/FIRST-SECOND", nan where one of the two is absent.
    """

    def predict(outputs: Mapping[str, Array]) -> dict[str, Array]:
        embedded = {name: outputs.get(EMBEDDING + name) for name in question.modalities}
        pairs = itertools.combinations(sorted(question.modalities), 2)
        names = (f"{MATCH}{a}-{b}" for a, b in pairs)
        return {name: x for name, x in embedded.items() if x is not None} | {
            name: jnp.where(outputs[f"{name}_mask"], jax.nn.sigmoid(outputs[name]), jnp.nan)
            for name in names
            if name in outputs
        }

    return make_task(
        question,
        predict=predict,
        keep=tuple(EMBEDDING + name for name in question.modalities),
    )


ALIGNMENT = TaskType(
    make=alignment,
    model="aligned",
    name=NAME,
    space=EMBEDDING,
    truth=("labels",),
    keys=("alignment", "critic", "matching", "model"),
    needs=(("alignment", "model"),),
    reads=READS,
)
