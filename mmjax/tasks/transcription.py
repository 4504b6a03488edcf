"""Writing what is heard or seen, character by character: speech, or a line of handwriting.

The model gives scores of characters for each token, the first of them the blank; the text is what
is left of the likeliest path (Graves et al. 2006, https://doi.org/10.1145/1143844.1143891).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mmjax.errors import UserError
from mmjax.losses.targets.sequence import alignable, ctc
from mmjax.metrics.decoding import best_path
from mmjax.models.transcriber import CharacterHead
from mmjax.tasks import characters
from mmjax.tasks.answers import ONE_TEXT
from mmjax.tasks.keyed import BATCH, PREDICTION, KeyedFunction
from mmjax.tasks.task import Answers, Arrays, Outputs, Question, Task, TaskType, make_task
from mmjax.types import TARGETS

NAME = "characters"
WRITTEN = "written"
TOO_SHORT = "too_short"
SHORT_LIMIT = 0.01  # the share of transcripts above which a model with too few tokens is refused
# What losses read that align labels with tokens.
READS = {
    "label_mask": f"{BATCH}{TARGETS}{{target}}_mask",
    "labels": f"{BATCH}{TARGETS}{{target}}",
    "logit_mask": "{name}_mask",
    "logits": "{name}",
}


def transcription(question: Question) -> Task:
    """A task on the logits [B N V] that the model puts out under its name, of its real tokens.

    The batch's target int32 [B L] holds indices into the alphabet. The metric "too_short" is added:
    the share of examples that have fewer tokens than their transcript takes. No path says it, so
    their loss is 0 and they teach nothing.

    What is asked of the whole set reads texts. The vocabulary is the alphabet: what each of the V
    scores stands for, the first, the blank, for "". Only what is asked of the whole set, and
    answers, need it.

    Returns:
        A task whose `predict` gives `written` int32 [B N], indices into the alphabet with blanks
        after them, and `probability` [B], that of the written text given the input.
    """

    def predict(outputs: Outputs) -> dict[str, Array]:
        logits, real = outputs[question.name], outputs[f"{question.name}_mask"]
        written, there = best_path(logits, real)
        return {
            WRITTEN: written.astype(jnp.int32),
            "probability": jnp.exp(-ctc(logits, real, written, there)),
        }

    said = {"name": question.name, "target": question.target}
    room = {parameter: x.format(**said) for parameter, x in READS.items()}
    room.pop("logits")
    shortness = KeyedFunction(too_short, room, "config.task")
    texts = (PREDICTION + WRITTEN, question.truth)

    def answer(rows: Arrays, _: Arrays, __: int | None) -> Answers:
        found = zip(spell(rows[WRITTEN], question.vocabulary), rows["probability"], strict=True)
        return [[{"answer": text, "probability": float(p)}] for text, p in found]

    return make_task(
        dataclasses.replace(question, metrics={TOO_SHORT: shortness, **question.metrics}),
        predict=predict,
        keep=texts,
        on_host=lambda rows: {**rows, **{n: spell(rows[n], question.vocabulary) for n in texts}},
        answer=answer,
        cells=ONE_TEXT,
    )


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


def encode(values: Mapping[str, Any], stored: Sequence[str] | None) -> tuple[Any, list[str]]:
    """Texts by split as indices of characters, and the alphabet they are in.

    The alphabet is that of all splits, so that no reference lacks a character; what is in the test
    split only is never learned.

    Args:
        values: the targets, by split.
        stored: the alphabet that the workdir has; None: it is made.

    Raises:
        UserError: a character that the stored alphabet lacks.
    """
    texts = [text for target in values.values() for text in target.values]
    found = characters.alphabet(texts)
    alphabet = found if stored is None else tuple(stored)
    unknown = sorted({*found} - {*alphabet})
    if unknown:
        raise UserError(f"labels.json lacks {''.join(unknown)!r}: the data changed; train anew")
    length = max([1, *(len(characters.normal(text)) for text in texts)])

    def encoded(target: Any) -> Any:
        ids, mask = characters.encode(target.values, alphabet, length)
        return dataclasses.replace(target, values=ids, mask=mask)

    return {split: encoded(target) for split, target in values.items()}, list(alphabet)


def check_tokens(outputs: Mapping[str, Any], values: Mapping[str, Any], where: str) -> list[str]:
    """Raises if over 1 % of the transcripts take more tokens than the model gives.

    What an example that is shorter than the longest one has is not known here: the metric
    "too_short" says it.

    Args:
        outputs: shapes of the model's outputs.
        values: the targets as the data set gives them, by split.
        where: the name of the task's output.

    Returns:
        A line for each split that has some of these.

    Raises:
        UserError: see above.
    """
    tokens, lines = outputs[where].shape[1], []
    for split, target in values.items():
        needed = [characters.tokens_needed(text) for text in target.values]
        long = sum(count > tokens for count in needed)
        line = (
            f"{split}: {long} of {len(needed)} transcripts take more tokens than the {tokens} of"
            f" the model (the longest takes {max(needed, default=0)})"
        )
        if long > SHORT_LIMIT * len(needed):
            raise UserError(
                f"{line}: choose an encoder with more tokens a second, or leave out long examples"
            )
        if long:
            lines.append(f"{line}: they teach nothing, and cannot be written")
    return lines


TRANSCRIPTION = TaskType(
    make=transcription,
    model="sequence",
    name=NAME,
    heads={"characters": CharacterHead},
    targets=("a text",),
    encode=encode,
    check=check_tokens,
    truth=("references",),
    keys=("fusion", "head"),
    reads=READS,
)
