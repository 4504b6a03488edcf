"""Texts that a model is to write, as indices of characters."""

import itertools
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Int32

BLANK = ""  # the first of an alphabet: a token that adds nothing


def alphabet(texts: Iterable[str]) -> tuple[str, ...]:
    """The blank, then every character (Unicode code point, NFC) of the texts by its number."""
    characters = set().union(*(normal(text) for text in texts))
    return (BLANK, *sorted(characters))


def encode(
    texts: Sequence[str], characters: Sequence[str], length: int
) -> tuple[Int32[np.ndarray, "n length"], Bool[np.ndarray, "n length"]]:
    """The index of each character, and where there is one.

    Raises:
        KeyError: a character that is not in the alphabet.
        ValueError: a text of more than `length` characters.
    """
    index = {character: number for number, character in enumerate(characters)}
    ids, mask = np.zeros((len(texts), length), np.int32), np.zeros((len(texts), length), bool)
    for row, there, text in zip(ids, mask, texts, strict=True):
        written = [index[character] for character in normal(text)]
        if len(written) > length:
            raise ValueError(f"{text!r} has more than {length} characters")
        row[: len(written)], there[: len(written)] = written, True
    return ids, mask


def tokens_needed(text: str) -> int:
    """How many tokens CTC takes to write a text: one for each character, and one between equals."""
    text = normal(text)
    return len(text) + sum(a == b for a, b in itertools.pairwise(text))


def normal(text: str) -> str:
    """The text in Unicode's composed form, NFC."""
    return unicodedata.normalize("NFC", text)
