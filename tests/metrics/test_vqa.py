import re

import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.metrics.vqa import normalise_answer, soft_accuracy, soft_accuracy_of_answers


def test_soft_accuracy_is_the_score_of_the_chosen_answer():
    logits = jnp.array([[0.0, 2.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
    targets = jnp.array([[1.0, 0.3, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(soft_accuracy(logits, targets), [0.3, 0.6, 0.0])


def test_soft_accuracy_of_answers_equals_a_loop():
    rng = np.random.default_rng(0)
    words = ["cat", "dog", "2", "yes"]
    predicted = [words[i] for i in rng.integers(4, size=60)]
    answers = [[words[i] for i in rng.integers(4, size=rng.integers(4, 11))] for _ in range(60)]
    expected = []
    for mine, theirs in zip(predicted, answers, strict=True):
        scores = []
        for left_out in range(len(theirs)):
            others = theirs[:left_out] + theirs[left_out + 1 :]
            scores.append(min(1, sum(answer == mine for answer in others) / 3))
        expected.append(sum(scores) / len(scores))
    assert soft_accuracy_of_answers(predicted, answers) == pytest.approx(np.mean(expected))


# The values that the VQA evaluation is known for: 0, 0.3, 0.6, 0.9 and 1.
@pytest.mark.parametrize(
    ("agree", "score"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)]
)
def test_scores_of_ten_people(agree, score):
    answers = ["A dog."] * agree + [f"cat {i}" for i in range(10 - agree)]
    assert soft_accuracy_of_answers(["dog"], [answers]) == pytest.approx(score)


def test_answers_that_cannot_be_scored_are_refused():
    with pytest.raises(ValueError, match="1 predictions for 2 questions"):
        soft_accuracy_of_answers(["a"], [["a"] * 10] * 2)
    with pytest.raises(ValueError, match="0 predictions for 0 questions"):
        soft_accuracy_of_answers([], [])
    with pytest.raises(ValueError, match="3 answers of people"):
        soft_accuracy_of_answers(["a"], [["a"] * 3])


NORMALISED = {
    "A dog": "dog",
    "the  Cat.\n": "cat",
    "an": "",
    "": "",
    "another": "another",
    "yes, it is!": "yes it is",
    "1,000": "1000",
    "1,000,000.": "1000000",
    "3.5": "3.5",
    ".5": ".5",
    "$3.50": "$3.50",
    "50%": "50%",
    "10:30 a.m.": "10:30 am",
    "t-shirt": "t shirt",
    "black/white": "black white",
    '"stop" (sign)': "stop sign",
    "[x] {y} a_b c\\d <e> f=g `h` @i;j?": "x y b c d e f g h i j",
    "None": "0",
    "Two dogs and ten cats": "2 dogs and 10 cats",
    "dont know": "don't know",
    "Isnt": "isn't",
    "couldnt've": "couldn't've",
    "couldn'tve": "couldn't've",
    "whats": "what's",
    "man's": "man's",
    "its": "its",
    "we\u2019ll": "we'll",
    "were well ill id shed hell": "were well ill id shed hell",
}


@pytest.mark.parametrize("text", NORMALISED)
def test_normalised_answers(text):
    assert normalise_answer(text) == NORMALISED[text]
    assert normalise_answer(NORMALISED[text]) == NORMALISED[text]


def official_punctuation(text):
    """As processPunctuation of the official evaluation does it, one mark after the other."""
    out = text
    for mark in ';/[]"{}()=+\\_-><@`,?!':
        if mark + " " in text or " " + mark in text or re.search(r"(\d)(\,)(\d)", text):
            out = out.replace(mark, "")
        else:
            out = out.replace(mark, " ")
    return re.sub(r"(?!<=\d)(\.)(?!\d)", "", out)


def test_punctuation_goes_as_in_the_official_evaluation():
    rng = np.random.default_rng(0)
    pieces = [*";/[]\"{}()=+\\_-><@`,?!.:'%$ ", "red", "blue", "5", "1,000", "0.5", " ", "नीली"]
    for _ in range(500):
        text = "".join(rng.choice(pieces, rng.integers(1, 9)))
        expected = " ".join(official_punctuation(text).split())
        assert normalise_answer(text).replace("\u2019", "'") == expected, text
