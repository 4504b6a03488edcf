"""Comparisons in a common space, by hand."""

import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.inference.zero_shot import ZeroShot, mean_direction, prompts, softmax

ROWS = {"cat": [1.0, 0.0], "dog": [0.0, 1.0], "a cat": [0.6, 0.8], "a dog": [0.0, 1.0]}


class Known(ZeroShot):
    """Embeds what is in ROWS."""

    def embed(self, **inputs):
        return {name: np.array([ROWS[v] for v in values]) for name, values in inputs.items()}


def test_prompts_go_template_by_template():
    assert prompts(["cat", "dog"], ["{}", "a {}!"]) == ["cat", "dog", "a cat!", "a dog!"]


@pytest.mark.parametrize(
    ("labels", "templates", "message"),
    [
        ("cat", ["{}"], "labels: give a list"),
        ([], ["{}"], "labels: give a list"),
        (["cat"], "{}", "templates: give a list"),
        (["cat"], ["a cat"], "template 'a cat' must have one {}"),
        (["cat"], ["{} {}"], "must have one {}"),
    ],
)
def test_prompts_that_are_none(labels, templates, message):
    with pytest.raises(UserError, match=message):
        prompts(labels, templates)


def test_templates_are_averaged_and_scaled_to_length_one():
    rows = np.array([ROWS[name] for name in ("cat", "dog", "a cat", "a dog")])
    found = mean_direction(rows, 2)
    np.testing.assert_allclose(found, [np.array([1.6, 0.8]) / np.hypot(1.6, 0.8), [0, 1]])
    np.testing.assert_array_equal(mean_direction(np.array([[1.0, 0], [-1.0, 0]]), 2), [[0, 0]])


def test_softmax_of_large_numbers():
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4 + np.log(3)]])), [[0.25, 0.75]])


def test_labels_compete_without_a_bias_and_stand_alone_with_one():
    model = Known()
    model.scale = 2.0
    cosines = np.array([1.0, 0.0])
    expected = np.exp(2 * cosines) / np.exp(2 * cosines).sum()
    answers = model.classify(["cat", "dog"], image=["cat"], templates=["{}"], top=2)
    assert [row["answer"] for row in answers[0]] == ["cat", "dog"]
    np.testing.assert_allclose([row["probability"] for row in answers[0]], expected)
    model.bias = -1.0
    answer = model.classify(["cat", "dog"], image="cat", templates=["{}"], top=1)
    assert answer == [{"answer": "cat", "probability": pytest.approx(1 / (1 + np.exp(-1)))}]


def test_similarity_is_of_two_modalities():
    model = Known()
    found = model.similarity(image=["cat", "a cat"], text="dog")
    np.testing.assert_allclose(found, [[0.0], [0.8]])
    for inputs in ({}, {"image": ["cat"]}):
        with pytest.raises(UserError, match="similarity is of two modalities"):
            model.similarity(**inputs)
    with pytest.raises(UserError, match="classify one modality"):
        model.classify(["cat"])
