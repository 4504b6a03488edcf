"""Metrics of visual question answering, where ten people answered each question."""

import functools
import itertools
import re
from collections import Counter
from collections.abc import Collection

import jax.numpy as jnp
from jaxtyping import Array, Float


def soft_accuracy(logits: Float[Array, "B C"], targets: Float[Array, "B C"]) -> Float[Array, " B"]:
    """targets[argmax(logits)]: the score in [0, 1] of the answer that is chosen.

    Args:
        logits: of each answer; the lowest index wins a tie.
        targets: how right each answer is; 0 for a row whose answers are all out of vocabulary.

    References:
        Teney et al. 2018, https://arxiv.org/abs/1708.02711
    """
    chosen = jnp.argmax(logits, axis=-1)
    return jnp.take_along_axis(targets, chosen[:, None], axis=-1)[:, 0].astype(jnp.float32)


def soft_accuracy_of_answers(
    predicted: Collection[str], answers: Collection[Collection[str]]
) -> float:
    """The mean over questions, and over leaving one person out, of min(1, others who agree / 3).

    Args:
        predicted: an answer to each question.
        answers: what people answered to each; ten in VQA. All are normalised first.

    Raises:
        ValueError: not one prediction for each question, or fewer than four people answered one,
            so that no answer would be right.

    References:
        Antol et al. 2015, https://arxiv.org/abs/1505.00468;
        Goyal et al. 2017, https://arxiv.org/abs/1612.00837
    """
    if len(predicted) != len(answers) or not len(predicted):
        raise ValueError(f"{len(predicted)} predictions for {len(answers)} questions")
    if (fewest := min(map(len, answers))) < 4:
        raise ValueError(f"a question has {fewest} answers of people; it takes four at least")
    scores = []
    for mine, theirs in zip(predicted, answers, strict=True):
        agree = Counter(map(normalise_answer, theirs))[normalise_answer(mine)]
        # Of those left out, `agree` leave one less to agree with.
        without, others = min(1, max(agree - 1, 0) / 3), min(1, agree / 3)
        scores.append((agree * without + (len(theirs) - agree) * others) / len(theirs))
    return sum(scores) / len(scores)


@functools.lru_cache(2**17)
def normalise_answer(text: str) -> str:
    """The answer as the VQA evaluation compares it.

    Lower case; full stops go unless a digit follows; other punctuation is a space, or goes where a
    space is beside one of its kind or a comma is between digits, but for apostrophes, colons and
    signs such as % and $; none to ten are digits; a, an and the go; contractions get their
    apostrophe.

    References:
        Antol et al. 2015, https://visualqa.org/evaluation.html
    """
    text = text.lower().replace("\u2019", "'")  # a typographic apostrophe
    goes = {mark for mark in _MARKS if f"{mark} " in text or f" {mark}" in text}
    goes = set(_MARKS) if _THOUSANDS.search(text) else goes
    text = text.translate({ord(mark): None if mark in goes else " " for mark in _MARKS})
    words = [_NUMBERS.get(word, word) for word in _FULL_STOP.sub("", text).split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


_FULL_STOP, _THOUSANDS = re.compile(r"\.(?!\d)"), re.compile(r"\d,\d")
_MARKS = """][;/"{}()=+\\_<>@`,?!-"""
_ARTICLES = ("a", "an", "the")
_NUMBERS = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}

# Contractions by their endings; those that are another word without their apostrophe (it's, we'll,
# she'd, I'd) are left out.
_ENDINGS = {
    "n't": "ai are ca could did do does had has have is might must need ought sha should was were "
    "wo would",
    "n't've": "could had might should would",
    "'ve": "could i might must should they we what where who would you",
    "'re": "there they what why you",
    "'ll": "how it somebody someone something that there they what who why y'all you",
    "'d": "he how it somebody someone something there they where who why you",
    "'d've": "he i it she somebody someone something there they we who y'all you",
    "'s": "he how somebody someone that there what when where who why",
    "'m": "i",
    "": "ma'am o'clock y'all",
}


def _without_apostrophes(contraction: str) -> list[str]:
    """All ways to leave one or more of its apostrophes out."""
    first, *rest = contraction.split("'")
    ways = itertools.product(("'", ""), repeat=len(rest))
    return ["".join([first, *map("".join, zip(way, rest, strict=True))]) for way in ways][1:]


_CONTRACTIONS = {
    shortened: stem + ending
    for ending, stems in _ENDINGS.items()
    for stem in stems.split()
    for shortened in _without_apostrophes(stem + ending)
} | {"twas": "'twas"}
