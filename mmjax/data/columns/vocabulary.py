"""Words that a column holds, in order, with a place for those that training did not see."""

import dataclasses
import functools
import logging
from collections.abc import Iterable, Mapping

from mmjax.data.columns import cells

UNSEEN = "(unseen)"
_SAID = 5  # groups in a warning
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Different words. Number 0 is UNSEEN; the words follow from 1 on."""

    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.words) + 1

    def number(self, word: str) -> int:
        """The number of a word, 0 for one that is not there."""
        return self._numbers.get(word, 0)

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=1)}


def ordered(words: Iterable[str]) -> tuple[str, ...]:
    """Different words in their order: numbers by size, then others by the alphabet."""

    def key(word: str) -> tuple[bool, float, str]:
        try:
            return False, cells.number(word), word
        except ValueError:
            return True, 0.0, word

    return tuple(sorted(set(words), key=key))


def most_frequent(counts: Mapping[str, int], most: int) -> Vocabulary:
    """The vocabulary of the most frequent words; the rest are unseen.

    Args:
        counts: how often each word occurs.
        most: how many words it may have.
    """
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return Vocabulary(ordered(ranked[:most]))


def alike(counts: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Words that differ only by case or by spaces, the more frequent first."""
    groups: dict[str, list[str]] = {}
    for word in counts:
        groups.setdefault(" ".join(word.split()).casefold(), []).append(word)
    found = [words for words in groups.values() if len(words) > 1]
    return [tuple(sorted(words, key=lambda word: (-counts[word], word))) for words in found]


def warn_of_alike(where: str, name: str, counts: Mapping[str, int]) -> None:
    """Warns in one line of words that differ only by case or by spaces."""
    groups = alike(counts)
    if groups:
        said = "; ".join(
            ", ".join(f"{word!r} ({counts[word]})" for word in words) for words in groups[:_SAID]
        )
        more = f" and {len(groups) - _SAID} more" if len(groups) > _SAID else ""
        _logger.warning(
            "%s: %r has words that differ only by case or spaces: %s%s; they are kept apart",
            where,
            name,
            said,
            more,
        )
