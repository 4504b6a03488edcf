"""What a model of a common space answers without having been trained for the question."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mmjax.types import UserError

TEMPLATES = ("a photo of a {}.",)


def prompts(labels: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Each template with each label in the place of {}, template by template.

    Raises:
        UserError: no label, no template, or one without {}.
    """
    if isinstance(labels, str) or not labels:
        raise UserError("labels: give a list of names, such as ['cat', 'dog']")
    if isinstance(templates, str) or not templates:
        raise UserError("templates: give a list of texts with {}, such as ['a photo of a {}.']")
    for template in templates:
        if template.count("{}") != 1:
            raise UserError(f"template {template!r} must have one {{}}, the place of the label")
    return [template.replace("{}", label) for template in templates for label in labels]


def mean_direction(x: Float[np.ndarray, "n E"], parts: int) -> Float[np.ndarray, "k E"]:
    """The direction of the mean over `parts` blocks of k unit vectors each, as CLIP's ensembles."""
    mean = x.reshape(parts, -1, x.shape[-1]).mean(axis=0)
    return mean / np.maximum(np.linalg.norm(mean, axis=-1, keepdims=True), 1e-12)


def softmax(x: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """exp(x) / sum(exp(x)) of each row."""
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


class ZeroShot:
    """Comparisons for whatever has `embed` (see `mmjax.predictor.Predictor.embed`).

    It also needs `scale` and `bias`: logits are scale * cosine + bias; with a bias each label is
    judged by itself, as in SigLIP, else against the others, as in CLIP.
    """

    scale: float = 1.0
    bias: float | None = None

    def similarity(self, **inputs: Any) -> np.ndarray:
        """The cosines of all inputs of one modality [n] and all of another [m]: [n m].

        Args:
            inputs: two modalities, in the order of rows and columns; see `embed`.

        Raises:
            UserError: not two of them.
        """
        if len(inputs) != 2:
            raise UserError(f"similarity is of two modalities, got {', '.join(inputs) or 'none'}")
        first, second = inputs
        found = self.embed(**{first: listed(inputs[first])})
        found |= self.embed(**{second: listed(inputs[second])})
        return found[first] @ found[second].T

    def classify(
        self,
        labels: Sequence[str],
        *,
        templates: Sequence[str] = TEMPLATES,
        top: int = 3,
        **inputs: Any,
    ) -> Any:
        """The likeliest labels of pictures or sounds, by what the model knows of their names.

        Args:
            labels: names.
            templates: texts around a name; their embeddings are averaged.
            top: how many labels to give.
            inputs: one modality; see `embed`.

        Returns:
            [{"answer": str, "probability": float}, ...], best first; for a list of inputs a list
            of these. With a bias the probabilities do not add up to one.

        Raises:
            UserError: not one modality, or labels or templates that are none.
        """
        if len(inputs) != 1:
            raise UserError(f"classify one modality, got {', '.join(inputs) or 'none'}")
        name, value = next(iter(inputs.items()))
        texts = self.embed(text=prompts(labels, templates))["text"]
        rows = self.embed(**{name: listed(value)})[name]
        logits = self.scale * rows @ mean_direction(texts, len(templates)).T + (self.bias or 0.0)
        found = softmax(logits) if self.bias is None else 1 / (1 + np.exp(-logits))
        answers = [
            [
                {"answer": labels[i], "probability": float(row[i])}
                for i in np.argsort(-row, kind="stable")[:top]
            ]
            for row in found
        ]
        return answers if isinstance(value, (list, tuple)) else answers[0]


def listed(value: Any) -> list[Any]:
    """One input as a list of it."""
    return list(value) if isinstance(value, (list, tuple)) else [value]
