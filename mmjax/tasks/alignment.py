"""Embeddings of several modalities in one space: finding what belongs together."""

import itertools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.tasks.keyed import KeyedFunction
from mmjax.tasks.task import Task, TaskType, make_task

NAME = "alignment"
EMBEDDING, MATCH = "embedding/", "match/"
READS = {name: f"matching/{name}" for name in ("scores", "targets", "pairs")}


def alignment(
    *,
    modalities: tuple[str, ...],
    losses: Mapping[str, KeyedFunction],
    metrics: Mapping[str, KeyedFunction],
    dataset_metrics: Mapping[str, KeyedFunction],
    name: str = NAME,
    target: str = "",
    vocabulary: Sequence[str] = (),
) -> Task:
    """A task on the embeddings [B E] that the model puts out as "embedding/MODALITY".

    A model with a matcher also puts out "match/FIRST-SECOND" [B], the logit that an example's two
    belong together.

    Args:
        modalities: the names of the inputs that the model is given.
        losses, metrics, dataset_metrics: what is asked of the outputs, by name.
        name, target, vocabulary: of no matter here, as there is one space and no answer.

    Returns:
        A task whose `predict` gives the embedding of each modality by its name, and the probability
        of each match by "match/FIRST-SECOND", nan where one of the two is absent.
    """
    del name, target, vocabulary

    def predict(outputs: Mapping[str, Array]) -> dict[str, Array]:
        embedded = {name: outputs.get(EMBEDDING + name) for name in modalities}
        pairs = itertools.combinations(sorted(modalities), 2)
        names = (f"{MATCH}{a}-{b}" for a, b in pairs)
        return {name: x for name, x in embedded.items() if x is not None} | {
            name: jnp.where(outputs[f"{name}_mask"], jax.nn.sigmoid(outputs[name]), jnp.nan)
            for name in names
            if name in outputs
        }

    return make_task(
        modalities=modalities,
        predict=predict,
        losses=losses,
        metrics=metrics,
        dataset_metrics=dataset_metrics,
        keep=tuple(EMBEDDING + name for name in modalities),
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
