"""The words of captions against Stanford's PTBTokenizer, a Java program, by pycocoevalcap."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mmjax.metrics.ptb import words
from mmjax.metrics.text import cider

ptbtokenizer = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
theirs = pytest.importorskip("pycocoevalcap.cider.cider")
if shutil.which("java") is None:
    pytest.skip("PTBTokenizer needs java", allow_module_level=True)

RECORDED = json.loads((Path(__file__).parents[1] / "metrics" / "treebank.json").read_text())


def captions(rng, count):
    def item():
        return rng.choice(RECORDED["words"]) + (
            rng.choice(RECORDED["ends"]) if rng.random() < 0.2 else ""
        )

    return [" ".join(item() for _ in range(rng.integers(1, 9))) for _ in range(count)]


def tokenized(texts):
    given = {place: [{"caption": text}] for place, text in enumerate(texts)}
    return ptbtokenizer.PTBTokenizer().tokenize(given)


def test_words_and_cider_of_captions_in_many_scripts():
    rng = np.random.default_rng(0)
    references, said = captions(rng, 600), captions(rng, 600)
    said = [r if rng.random() < 0.5 else s for r, s in zip(references, said, strict=True)]
    expected = tokenized(references)
    wrong = {
        text: (words(text), line[0])
        for text, line in zip(references, expected.values(), strict=True)
        if " ".join(words(text)) != " ".join(line[0].split())
    }
    assert not wrong
    score, _ = theirs.Cider().compute_score(expected, tokenized(said))
    assert cider(references, said) == pytest.approx(score, rel=1e-9)
