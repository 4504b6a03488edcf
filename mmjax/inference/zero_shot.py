"""What a model of a common space answers without having been trained for the question."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from mmjax.data.own.inputs import Wanted
from mmjax.errors import UserError

TEMPLATES = ("a photo of a {}.",)
AXES = {"audio": 1, "image": 3, "text": 0, "video": 4}  # of one input of a kind, as an array


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


def unit_length(x: Float[np.ndarray, "*rows E"]) -> Float[np.ndarray, "*rows E"]:
    """Vectors over their length, on the host; zero stays zero."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def mean_direction(x: Float[np.ndarray, "n E"], parts: int) -> Float[np.ndarray, "k E"]:
    """The direction of the mean over `parts` blocks of k unit vectors each, as CLIP's ensembles."""
    mean = x.reshape(parts, -1, x.shape[-1]).mean(axis=0)
    return unit_length(mean)


def softmax(x: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """exp(x) / sum(exp(x)) of each row."""
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


class ZeroShot:
    """Comparisons for whatever has `embed` (see `mmjax.inference.predictor.Predictor.embed`).

    Of a run on a table `columns` are those that each modality reads; `arrays` are the modalities
    whose strings are numbers in JSON or the paths of .npy files.

    It also needs `scale` and `bias`: logits are scale * cosine + bias; with a bias each label is
    judged by itself, as in SigLIP, else against the others, as in CLIP. And `axes`: by modality,
    how many one input has as an array; `texts`: the modality that labels are written in.
    """

    scale: float = 1.0
    bias: float | None = None
    axes: Mapping[str, int] = AXES
    columns: Mapping[str, Wanted] = MappingProxyType({})
    arrays: tuple[str, ...] = ()
    texts: str = "text"

    def several(self, name: str, value: Any) -> list[Any] | None:
        """The inputs of a modality where a value is several of them, else None; see `several`."""
        return several(value, self.axes.get(name, 0))

    def listed(self, name: str, value: Any) -> list[Any]:
        """The inputs of a modality, a list of one for a single input."""
        found = self.several(name, value)
        return [value] if found is None else found

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
        found = self.embed(**{first: self.listed(first, inputs[first])})
        found |= self.embed(**{second: self.listed(second, inputs[second])})
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
        texts = self.embed(**{self.texts: prompts(labels, templates)})[self.texts]
        rows = self.embed(**{name: self.listed(name, value)})[name]
        logits = self.scale * rows @ mean_direction(texts, len(templates)).T + (self.bias or 0.0)
        answers = likeliest(logits, labels, top, by_itself=self.bias is not None)
        return answers[0] if self.several(name, value) is None else answers


def likeliest(
    logits: Float[np.ndarray, "n k"], labels: Sequence[str], top: int, *, by_itself: bool = False
) -> list[list[dict[str, Any]]]:
    """The labels of the `top` highest logits of each row, with their probabilities.

    The order is that of the logits, since probabilities of 1.0 in float32 have none.

    Args:
        logits: of each label.
        labels: k names.
        top: how many.
        by_itself: whether each label is judged by itself, by a sigmoid, or against the others.
    """
    found = expit(logits) if by_itself else softmax(logits)
    return [
        [{"answer": labels[i], "probability": float(row[i])} for i in best[:top]]
        for row, best in zip(found, np.argsort(-logits, axis=-1, kind="stable"), strict=True)
    ]


def read_rows(read: Callable[[list[Any]], Any], values: list[Any], first: int, many: bool) -> Any:
    """What a reader makes of values; its error says which of them cannot be read.

    Args:
        read: values -> inputs of a model.
        values: of a modality.
        first: which input of the user the first of them is, from 0.
        many: whether the user gave several; the error about a single one has no number.

    Raises:
        UserError: a value cannot be read.
    """
    try:
        return read(values)
    except UserError as error:
        for number, value in enumerate(values if many else (), first + 1):
            try:
                read([value])
            except UserError as own:
                raise UserError(f"input {number}: {own}") from error
        raise


def several(value: Any, axes: int) -> list[Any] | None:
    """The inputs of a list, or of an array with one axis more than one input has; else None.

    An array of strings or of objects holds inputs along its only axis, unless its objects are the
    numbers of one input.

    Args:
        value: what a user has.
        axes: of one input as an array; 0 for a text.
    """
    if isinstance(value, (list, tuple)):
        return list(value)
    if not hasattr(value, "ndim"):
        return None
    array = np.asarray(value)
    if array.dtype.kind in "US":
        return list(array) if array.ndim == 1 else None
    if array.dtype.kind == "O" and array.ndim == 1:
        numbers = axes == 1 and all(x is None or np.isscalar(x) for x in array)
        return None if numbers and not any(isinstance(x, str) for x in array) else list(array)
    return list(array) if array.ndim == axes + 1 else None
