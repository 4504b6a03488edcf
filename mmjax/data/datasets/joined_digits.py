"""Numbers of several digits, joined from recordings or pictures of single ones."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Digits(NamedTuple):
    """Single digits to draw from.

    pieces: of each, float32 [steps ...]; `digits`: which it is; `owners`: whose it is.
    """

    pieces: Sequence[np.ndarray]
    digits: Int[np.ndarray, " n"]
    owners: Int[np.ndarray, " n"]

    def of(self, chosen: Bool[np.ndarray, " n"]) -> "Digits":
        """Some of them."""
        pieces = [self.pieces[i] for i in np.flatnonzero(chosen)]
        return Digits(pieces, self.digits[chosen], self.owners[chosen])


class Numbers(NamedTuple):
    """values float32 [n length ...] and mask bool [n length]; texts such as "seven three one";
    how many digits each has, and whose they are."""

    values: Float[np.ndarray, "n length ..."]
    mask: Bool[np.ndarray, "n length"]
    texts: list[str]
    counts: Int[np.ndarray, " n"]
    owners: Int[np.ndarray, " n"]


def join(
    source: Digits,
    owners: Sequence[int],
    rng: np.random.Generator,
    *,
    count: int,
    length: int,
    fewest: int,
    most: int,
    gaps: tuple[int, int],
    names: Sequence[str] = WORDS,
) -> Numbers:
    """Draws numbers, each of the digits of one owner, with gaps of zeros between the digits.

    How many digits a number has, which, and how long the gaps are is drawn uniformly. What would
    make it longer than `length` is left out, so long digits come in shorter numbers.

    Args:
        source: the digits.
        owners: whose are used, each as often.
        rng: draws all.
        count: n.
        length: steps of a row; behind the last digit they are masked zeros.
        fewest, most: digits in a number.
        gaps: the shortest and the longest gap, in steps.
        names: what each of the ten digits is called.
    """
    of_owner: Mapping[int, np.ndarray] = {
        owner: np.flatnonzero(source.owners == owner) for owner in owners
    }
    shape = source.pieces[0].shape[1:]
    values = np.zeros((count, length, *shape), np.float32)
    ends, counts, whose = (np.zeros(count, np.int32) for _ in range(3))
    texts = []
    for row in range(count):
        owner = owners[row % len(owners)]
        chosen = rng.choice(of_owner[owner], rng.integers(fewest, most + 1))
        silences = rng.integers(gaps[0], gaps[1] + 1, len(chosen))
        said: list[str] = []
        end = 0
        for number, gap in zip(chosen, silences, strict=True):
            start = end + (gap if said else 0)
            piece = source.pieces[number]
            if start + len(piece) > length:
                break
            values[row, start : (end := start + len(piece))] = piece
            said.append(names[source.digits[number]])
        ends[row], counts[row], whose[row] = end, len(said), owner
        texts.append(" ".join(said))
    mask = np.arange(length) < ends[:, None]
    return Numbers(values, mask, texts, counts, whose)
