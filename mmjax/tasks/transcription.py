"""Writing what is heard or seen, character by character: speech, or a line of handwriting.

The model gives scores of characters for each token, the first of them the blank; the text is what
is left of the likeliest path (Graves et al. 2006, https://doi.org/10.1145/1143844.1143891).
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mmjax.losses.targets.sequence import alignable, ctc
from mmjax.metrics.decoding import best_path
from mmjax.tasks.bound import BATCH, PREDICTION, Bound
from mmjax.tasks.task import Outputs, Task, make_task

CHARACTERS, TRANSCRIPT = "characters", "transcript"  # the model's output, and the batch's truth
WRITTEN = "written"
TOO_SHORT = "too_short"
# What losses read that align labels with tokens.
READS = {
    "label_mask": f"{BATCH}{TRANSCRIPT}_mask",
    "labels": f"{BATCH}{TRANSCRIPT}",
    "logit_mask": f"{CHARACTERS}_mask",
    "logits": CHARACTERS,
}


def transcription(
    *,
    modalities: tuple[str, ...],
    losses: Mapping[str, Bound],
    metrics: Mapping[str, Bound],
    whole_set: Mapping[str, Bound],
    alphabet: Sequence[str] = (),
) -> Task:
    """A task on the logits [B N V] that the model puts out as "characters", of its real tokens.

    The batch's "transcript" int32 [B L] holds indices into the alphabet. The metric "too_short" is
    added: the share of examples that have fewer tokens than their transcript takes. No path says
    it, so their loss is 0 and they teach nothing.

    Args:
        modalities: the names of the inputs that the model is given.
        losses, metrics, whole_set: what is asked of the outputs, by name. What is asked of the
            whole set reads texts.
        alphabet: what each of the V scores stands for, the first, the blank, for "". Only what is
            asked of the whole set needs it.

    Returns:
        A task whose `predict` gives `written` int32 [B N], indices into the alphabet with blanks
        after them, and `probability` [B], that of the written text given the input.
    """

    def predict(outputs: Outputs) -> dict[str, Array]:
        logits, real = outputs[CHARACTERS], outputs[f"{CHARACTERS}_mask"]
        written, there = best_path(logits, real)
        return {
            WRITTEN: written.astype(jnp.int32),
            "probability": jnp.exp(-ctc(logits, real, written, there)),
        }

    room = {name: READS[name] for name in ("logit_mask", "labels", "label_mask")}
    texts = (PREDICTION + WRITTEN, BATCH + TRANSCRIPT)
    task = make_task(
        modalities=modalities,
        predict=predict,
        losses=losses,
        metrics={TOO_SHORT: Bound(too_short, room, "config.task"), **metrics},
        whole_set=whole_set,
        keep=texts,
    )

    def of_the_whole_set(rows: Mapping[str, np.ndarray]) -> dict[str, float]:
        return task.whole_set({**rows, **{n: spell(rows[n], alphabet) for n in texts}})

    return dataclasses.replace(task, whole_set=of_the_whole_set)


def too_short(
    logit_mask: Bool[Array, "B N"], labels: Int[Array, "B L"], label_mask: Bool[Array, "B L"]
) -> Float[Array, " B"]:
    """1.0 where there are fewer tokens than the labels take, with blanks between equal ones."""
    return (~alignable(logit_mask, labels, label_mask)).astype(jnp.float32)


def spell(indices: Int[np.ndarray, "n N"], alphabet: Sequence[str]) -> np.ndarray:
    """The text of each row, an array of str; the first entry of the alphabet is ""."""
    texts = np.empty(len(indices), object)
    texts[:] = ["".join(alphabet[i] for i in row if i) for row in np.asarray(indices).tolist()]
    return texts
