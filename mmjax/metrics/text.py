"""Metrics of texts against references, over a whole set.

Case and punctuation count, except in CIDEr: normalise texts first where they should not.
"""

import importlib
import math
from collections import Counter
from collections.abc import Collection
from types import ModuleType

import numpy as np

from mmjax.errors import UserError
from mmjax.metrics.ptb import words as _words

Words = tuple[str, ...]
References = Collection[str | Collection[str]]


def word_error_rate(references: Collection[str], hypotheses: Collection[str]) -> float:
    """(substitutions + deletions + insertions) / words of the references, of the whole set.

    Words are what spaces separate. If the references hold no word at all, it is the number of
    words inserted.
    """
    _check(references, hypotheses)
    return float(_library("jiwer").wer(list(references), list(hypotheses)))


def character_error_rate(references: Collection[str], hypotheses: Collection[str]) -> float:
    """As word_error_rate, of characters; spaces within a text count."""
    _check(references, hypotheses)
    return float(_library("jiwer").cer(list(references), list(hypotheses)))


def bleu(references: References, hypotheses: Collection[str]) -> float:
    """100 min(1, e^(1 - r/c)) (p_1 p_2 p_3 p_4)^(1/4), p_n the precision of n-grams in the set.

    It is sacrebleu's, with its tokenisation (13a) and smoothing (exponential), from 0 to 100.

    Args:
        references: one text or several for each hypothesis.
        hypotheses: texts.

    References:
        Papineni et al. 2002, https://aclanthology.org/P02-1040;
        Post 2018, https://arxiv.org/abs/1804.08771
    """
    several = _several(references, hypotheses)
    most = max(map(len, several))
    streams = [[r[i] if i < len(r) else None for r in several] for i in range(most)]
    return float(_library("sacrebleu").corpus_bleu(list(hypotheses), streams).score)


def cider(
    references: References, hypotheses: Collection[str], *, longest: int = 4, sigma: float = 6.0
) -> float:
    """CIDEr-D: 10 mean e^(-(difference in words)^2 / (2 sigma^2)) min(h, r) . r / (|h| |r|).

    h and r count the n-grams of a hypothesis and of a reference, each times log(examples /
    examples in whose references it is); the mean is over n, references and examples. Words are
    the Penn Treebank's, in lower case and without punctuation, as pycocoevalcap's (see ptb.words).
    Of one example, all logarithms and the value are 0.

    Args:
        references: one text or several for each hypothesis.
        hypotheses: texts.
        longest: the highest n.
        sigma: what difference in length is tolerated, in words.

    References:
        Vedantam et al. 2015, https://arxiv.org/abs/1411.5726
    """
    several = [[_words(text) for text in texts] for texts in _several(references, hypotheses)]
    said = [_words(text) for text in hypotheses]
    orders = range(1, longest + 1)
    values = [_cider_of_one_order(several, said, n, sigma) for n in orders]
    return 10 * float(np.mean(values))


def _cider_of_one_order(
    references: list[list[Words]], hypotheses: list[Words], n: int, sigma: float
) -> float:
    documents = Counter(
        gram for texts in references for gram in set().union(*(_grams(t, n) for t in texts))
    )

    def weighted(words: Words) -> dict[tuple[str, ...], float]:
        examples = len(references)
        return {
            gram: count * math.log(examples / max(documents[gram], 1))
            for gram, count in _grams(words, n).items()
        }

    scores = []
    for texts, words in zip(references, hypotheses, strict=True):
        mine = weighted(words)
        similar = []
        for text in texts:
            theirs = weighted(text)
            common = sum(min(mine[g], theirs[g]) * theirs[g] for g in mine.keys() & theirs.keys())
            lengths = math.hypot(*mine.values()) * math.hypot(*theirs.values())
            penalty = math.exp(-((len(words) - len(text)) ** 2) / (2 * sigma**2))
            similar.append(penalty * common / lengths if lengths else 0.0)
        scores.append(np.mean(similar))
    return float(np.mean(scores))


def _grams(words: Words, n: int) -> Counter:
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def _several(references: References, hypotheses: Collection[str]) -> list[list[str]]:
    _check(references, hypotheses)
    several = [[given] if isinstance(given, str) else list(given) for given in references]
    if not all(several):
        raise ValueError(f"hypothesis {several.index([])} has no reference")
    return several


def _check(references: Collection, hypotheses: Collection[str]) -> None:
    if len(references) != len(hypotheses) or not len(references):
        raise ValueError(f"{len(references)} references for {len(hypotheses)} hypotheses")


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"this metric needs {name}: pip install {name}") from error
