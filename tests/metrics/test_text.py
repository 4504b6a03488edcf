import math
import sys

import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.metrics.text import bleu, character_error_rate, cider, word_error_rate

METRICS = [word_error_rate, character_error_rate, bleu, cider]
every = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
CAPTIONS = [
    ["a man rides a brown horse", "the man on a horse", "a horse and its rider"],
    ["two dogs play in the snow"],
    ["a red bus on a street in the city", "a bus drives down the street"],
    ["a plate of food"],
]
SAID = ["a man rides a horse", "dogs play in the snow", "a bus on the street", "the the the the"]


def edits(x, y):
    """Levenshtein distance by its recursion."""
    table = {(i, 0): i for i in range(len(x) + 1)} | {(0, j): j for j in range(len(y) + 1)}
    for i in range(1, len(x) + 1):
        for j in range(1, len(y) + 1):
            replaced = table[i - 1, j - 1] + (x[i - 1] != y[j - 1])
            table[i, j] = min(replaced, table[i - 1, j] + 1, table[i, j - 1] + 1)
    return table[len(x), len(y)]


@pytest.mark.parametrize("seed", range(5))
def test_error_rates_equal_a_loop(seed):
    rng = np.random.default_rng(seed)

    def texts():
        return [" ".join(rng.choice(["ab", "b", "abc"], rng.integers(5))) for _ in range(20)]

    references, hypotheses = texts(), texts()
    pairs = list(zip(references, hypotheses, strict=True))
    words = sum(edits(r.split(), h.split()) for r, h in pairs) / sum(
        len(r.split()) for r in references
    )
    characters = sum(edits(r, h) for r, h in pairs) / sum(map(len, references))
    assert word_error_rate(references, hypotheses) == pytest.approx(words)
    assert character_error_rate(references, hypotheses) == pytest.approx(characters)


def test_error_rates_of_nothing():
    assert word_error_rate(["a b", "c"], ["", ""]) == 1
    assert word_error_rate(["", "a b"], ["c", "a b"]) == 0.5  # one inserted, two words
    assert word_error_rate([""], [""]) == character_error_rate([""], [""]) == 0
    assert word_error_rate([""], ["a b"]) == 2
    assert character_error_rate(["", "ab"], ["c", "ab"]) == 0.5
    assert word_error_rate(["a"], ["b c d"]) == 3  # more edits than words
    assert word_error_rate(["Dogs."], ["dogs"]) == 1  # as it is written


def test_error_rates_take_an_array_of_texts():
    assert word_error_rate(np.array(["a b", "c"]), np.array(["a x", "c"])) == pytest.approx(1 / 3)


def test_bleu_equals_its_formula():
    reference, said = "the cat sat on the mat today", "the cat sat on a mat"
    # Of 6, 5, 4 and 3 n-grams, 5, 3, 2 and 1 are in the reference; it has one word more.
    precision = (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** (1 / 4)
    expected = 100 * math.exp(1 - 7 / 6) * precision
    assert bleu([reference], [said]) == pytest.approx(expected)
    assert bleu([[reference]], [said]) == pytest.approx(expected)
    # A word more often than in any reference is right that many times only.
    assert bleu([["a a a a b"]], ["a a a a a"]) == pytest.approx(
        100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4)
    )


def test_bleu_of_any_number_of_references():
    references = [["a b c d e f", "u v w x y z"], ["g h i j k l"]]
    assert bleu(references, ["u v w x y z", "g h i j k l"]) == pytest.approx(100)
    assert 0 < bleu(references, ["u v w x y z", "a b c d e f"]) < 100
    assert bleu(references, ["", ""]) == 0
    assert bleu(["", "a b c d"], ["", "a b c d"]) == pytest.approx(100)


def naive_cider(references, hypotheses, sigma=6.0):
    def grams(text, n):
        words = text.split()
        return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]

    total = 0
    for texts, said in zip(references, hypotheses, strict=True):
        for n in (1, 2, 3, 4):
            for text in texts:
                vectors = []
                every_gram = sorted(set(grams(said, n)) | set(grams(text, n)))
                for source in (said, text):
                    vector = []
                    for gram in every_gram:
                        documents = sum(any(gram in grams(t, n) for t in ts) for ts in references)
                        idf = math.log(len(references)) - math.log(max(1, documents))
                        vector.append(grams(source, n).count(gram) * idf)
                    vectors.append(np.array(vector))
                h, r = vectors
                lengths = np.sqrt(np.sum(h**2)) * np.sqrt(np.sum(r**2))
                delta = len(said.split()) - len(text.split())
                value = np.exp(-(delta**2) / (2 * sigma**2)) * np.sum(np.minimum(h, r) * r)
                total += (value / lengths if lengths > 0 else 0) / 4 / len(texts)
    return 10 * total / len(references)


def test_cider_equals_a_loop():
    assert cider(CAPTIONS, SAID) == pytest.approx(naive_cider(CAPTIONS, SAID))
    assert cider(CAPTIONS, SAID, sigma=1.0) == pytest.approx(naive_cider(CAPTIONS, SAID, 1.0))
    rng = np.random.default_rng(0)

    def text():
        return " ".join(rng.choice(list("abcdef"), rng.integers(9)))

    for _ in range(5):
        references = [[text() for _ in range(rng.integers(1, 4))] for _ in range(6)]
        hypotheses = [text() for _ in range(6)]
        expected = naive_cider(references, hypotheses)
        assert cider(references, hypotheses) == pytest.approx(expected)


def test_cider_equals_what_pycocoevalcap_gave():
    assert cider(CAPTIONS, SAID) == pytest.approx(3.536666044060718, rel=1e-9)


def test_cider_of_the_best_and_the_worst():
    captions = ["a man rides a horse", "two dogs play in snow", "red bus drives down streets"]
    assert cider(captions, captions) == pytest.approx(10)
    assert cider(captions, ["A man rides... a horse!", *captions[1:]]) == pytest.approx(10)
    assert cider(captions, ["", "", ""]) == 0
    assert cider(captions, [captions[1], captions[2], captions[0]]) < 0.1
    assert cider(captions[:1], captions[:1]) == 0  # one example has no rare words
    # Of texts of one word, 2-grams and longer are not there to be alike.
    assert cider(["cat", "dog"], ["cat", "dog"]) == pytest.approx(10 / 4)
    assert cider(["cat", "dog"], ["cat", "dog"], longest=1) == pytest.approx(10)


@every
def test_the_order_of_the_examples_does_not_matter(metric):
    references = [texts[0] for texts in CAPTIONS]
    assert metric(references[::-1], SAID[::-1]) == pytest.approx(metric(references, SAID))


@every
def test_references_and_hypotheses_of_other_number_are_refused(metric):
    with pytest.raises(ValueError, match="2 references for 1 hypotheses"):
        metric(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="0 references for 0 hypotheses"):
        metric([], [])


@pytest.mark.parametrize("metric", [bleu, cider])
def test_a_hypothesis_without_reference_is_refused(metric):
    with pytest.raises(ValueError, match="hypothesis 1 has no reference"):
        metric([["a"], []], ["a", "b"])


@pytest.mark.parametrize("metric", METRICS[:3], ids=lambda metric: metric.__name__)
def test_a_missing_library_is_named(metric, monkeypatch):
    library = "sacrebleu" if metric is bleu else "jiwer"
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    with pytest.raises(UserError, match=f"needs {library}: pip install {library}"):
        metric(["a"], ["a"])
