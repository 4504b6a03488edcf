"""Words as Stanford's PTBTokenizer 3.4.1 gives them, with pycocoevalcap's options."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmjax.metrics.ptb import words
from mmjax.metrics.text import cider

# What pycocoevalcap's tokenizer and CIDEr gave of texts, references and hypotheses.
RECORDED = json.loads((Path(__file__).parent / "treebank.json").read_text())
TOKENS, CAPTIONS = RECORDED["tokens"], RECORDED["cider"]


@pytest.mark.parametrize("text", TOKENS, ids=ascii)
def test_words_are_those_of_the_treebank_tokenizer(text):
    assert " ".join(words(text)) == TOKENS[text]


@pytest.mark.parametrize("name", CAPTIONS)
def test_cider_of_captions_is_pycocoevalcaps(name):
    case = CAPTIONS[name]
    found = cider(case["references"], case["hypotheses"])
    assert found == pytest.approx(case["score"], abs=1e-9)


def test_spaces_and_punctuation_change_no_words():
    rng = np.random.default_rng(0)
    plain = [word for word in RECORDED["words"] if words(f"{word} x") == (word, "x")]
    assert len(plain) > 30
    assert not all(map(str.isascii, plain))
    ends = [" ", ", ", "; ", "  ", "\u00a0", " - ", "? ", '" ', "\n"]
    for _ in range(50):
        chosen = [word for word in rng.choice(plain, 6) if word[-1].isalpha()]
        text = "".join(word + rng.choice(ends) for word in chosen)
        assert list(words(text)) == chosen, text


def test_any_text_has_words():
    rng = np.random.default_rng(1)
    for _ in range(200):
        text = "".join(map(chr, rng.integers(1, 0x2FFF, 30))) + json.loads('"\\ud83d"')
        found = words(text)
        assert all(word and word == "".join(word.split()) for word in found)
    assert words("") == words(" \n\u2028") == words("\U0001f600") == ()
