"""What the logits of a published classifier say: its config.json tells how to read them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit, softmax

from mmjax.errors import UserError, decoding

# The values of problem_type, which transformers writes into config.json.
ONE, ANY, NUMBERS = "single_label_classification", "multi_label_classification", "regression"
TOP = 3


def label_names(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The names of the classes in their order, from id2label or timm's label_names; () if the
    config has neither.

    Raises:
        UserError: they are no table and no list, or a number of a class is missing.
    """
    with decoding(f"{where}: the labels in its config.json are damaged", "fetch that file again"):
        named = config.get("id2label") or {}
        if not named:
            return tuple(map(str, config.get("label_names") or ()))
        numbered = {int(number): str(name) for number, name in named.items()}
    if set(numbered) != set(range(len(numbered))):
        raise UserError(f"{where}: id2label in config.json does not number its classes from 0 on")
    return tuple(numbered[number] for number in range(len(numbered)))


def problem_of(config: Mapping[str, Any], classes: int, where: str) -> str:
    """ONE, ANY or NUMBERS: what the config says, else ANY for one class and ONE for several.

    The same as the text and image pipelines of transformers. Those for sounds and videos take the
    softmax over one class, which is 1 whatever the input.

    Raises:
        UserError: a problem_type that there is not.
    """
    said = config.get("problem_type")
    if said not in (None, ONE, ANY, NUMBERS):
        raise UserError(
            f"{where}: problem_type={said!r} in config.json is none of {ONE}, {ANY}, {NUMBERS}"
        )
    return ANY if classes == 1 and said != NUMBERS else said or ONE


def answers(
    logits: Float[np.ndarray, "*rows C"],
    labels: Sequence[str],
    problem: str,
    top: int | None,
    where: str,
) -> list[list[dict[str, Any]]]:
    """What the user sees of each row.

    Args:
        logits: of the classifier.
        labels: the names of the C classes; empty: they are called by their numbers.
        problem: see `problem_of`.
        top: how many answers of a row. None: TOP; of NUMBERS all.
        where: the checkpoint, for messages.

    Returns:
        With ONE and ANY {"answer": name, "probability": float}, likeliest first; the probabilities
        of ONE add up to one, those of ANY are each by itself. With NUMBERS {"answer": name,
        "value": float}, in the order of the labels.

    Raises:
        UserError: the logits are not of one row each, or not as many as the labels.
    """
    if logits.ndim != 2:
        raise UserError(
            f"{where}: its logits {list(logits.shape)} are no classes of the whole input: pass"
            " arrays to the `model` of this"
        )
    if labels and len(labels) != logits.shape[1]:
        raise UserError(
            f"{where}: config.json names {len(labels)} classes, but the classifier has"
            f" {logits.shape[1]}: put the config.json of this model beside it"
        )
    names = labels or tuple(map(str, range(logits.shape[1])))
    if problem == NUMBERS:
        return [
            [{"answer": n, "value": float(x)} for n, x in zip(names, row, strict=True)][:top]
            for row in logits
        ]
    rows = expit(logits) if problem == ANY else softmax(logits, axis=-1)
    return [
        [
            {"answer": names[i], "probability": float(row[i])}
            for i in best[: TOP if top is None else top]
        ]
        # The order of the logits: probabilities of 1.0 in float32 have none.
        for row, best in zip(rows, np.argsort(-logits, axis=-1, kind="stable"), strict=True)
    ]
