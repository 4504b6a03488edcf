"""What enters is looked at once: types, shapes, ranges, finite numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax.errors import UserError
from mmjax.types import Input

LARGEST = float(np.finfo(np.float32).max)  # what models compute with
_NUMBERS = 2**22  # that are looked at at once


def beside(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mask with an axis of one for each that only the values have."""
    return mask.reshape(*mask.shape, *(1,) * (values.ndim - mask.ndim))


def check_array(where: str, what: str, array: Any, kinds: str, axes: int | None = None) -> None:
    """Raises a UserError for what is no array of one of these kinds of numbers.

    Args:
        where, what: the data set and the array, for messages.
        array: given by the user.
        kinds: of numpy, such as "iu" for whole numbers.
        axes: how many it has; None for one or more.
    """
    found = f"{type(array).__name__}"
    if isinstance(array, np.ndarray):
        found = f"{array.dtype} of shape {list(array.shape)}"
        if array.dtype.kind in kinds and (array.ndim == axes if axes else array.ndim):
            return
    names = {"b": "bool", "f": "float", "i": "int", "u": "unsigned int"}
    wanted = " or ".join(names[kind] for kind in kinds)
    shape = "" if axes is None else " with one axis" if axes == 1 else f" with {axes} axes"
    raise UserError(f"{where}: {what} must be a numpy array of {wanted}{shape}, not {found}")


def check_indices(where: str, what: str, numbers: np.ndarray, names: str, count: int) -> None:
    """Raises a UserError for a number that is not from 0 to `count` - 1.

    Args:
        where, what: the data set and what the numbers are, for messages.
        numbers: one for each example.
        names: what they are indices of, for messages.
        count: of these.
    """
    wrong = (numbers < 0) | (numbers >= count)
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(
            f"{where}: {what} {numbers[row]} of example {row} ({wrong.sum()} such) is none of the"
            f" {count} {names}: give 0 to {count - 1}"
        )


def check_values(where: str, name: str, values: np.ndarray, mask: np.ndarray) -> None:
    """Raises a UserError for values and a mask that do not fit, or a number that is not finite.

    Args:
        where, name: the data set and the modality, for messages.
        values: rows.
        mask: bool, of the first axes of the values. What it is False of may be anything.
    """
    if mask.shape != values.shape[: mask.ndim]:
        raise UserError(
            f"{where}: the mask of {name!r} has shape {list(mask.shape)}, but the values have"
            f" {list(values.shape)}: give it the first of these axes"
        )
    if values.dtype.kind != "f":
        return
    size = max(1, _NUMBERS * len(values) // max(values.size, 1))
    for start in range(0, len(values), size):
        rows = values[start : start + size]
        # Not abs(rows) > LARGEST, which NaN is not either.
        wrong = ~(np.abs(rows) <= LARGEST) & beside(mask[start : start + size], rows)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            row, at = start + place[0], f" at {list(place[1:])}" if place[1:] else ""
            raise UserError(
                f"{where}: row {row} of {name!r} holds {rows[place]}{at}:"
                " give finite float32 numbers, and False in the mask for what is missing"
            )


def check_targets(where: str, targets: np.ndarray, classes: int) -> None:
    """Raises a UserError for targets that are not a share from 0 to 1 of each class."""
    if targets.shape[1] != classes:
        raise UserError(
            f"{where}: targets have shape {list(targets.shape)}, but there are {classes} classes"
        )
    wrong = ~((targets >= 0) & (targets <= 1))
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise UserError(
            f"{where}: the target of example {row} for class {column} is {targets[row, column]}:"
            " give 0 (wrong) to 1 (right)"
        )


def check_texts(where: str, name: str, texts: Sequence[Any]) -> None:
    """Raises a UserError for what is no string."""
    row = next((row for row, text in enumerate(texts) if not isinstance(text, str)), None)
    if row is not None:
        raise UserError(
            f"{where}: text {row} of {name!r} is {type(texts[row]).__name__}: give a string, '' and"
            " `absent` for what is missing"
        )


def check_shape(where: str, name: str, values: np.ndarray, mask: np.ndarray, one: Input) -> None:
    """Raises a UserError for rows that the model of a config does not take.

    Args:
        where, name: the data set and the modality, for messages.
        values, mask: rows, checked by check_values.
        one: a row as the model takes it.
    """
    wanted = np.dtype(one.value.dtype)
    if values.shape[1:] != one.value.shape[1:]:
        raise UserError(
            f"{where}: rows of {name!r} have shape {list(values.shape[1:])}, the config says"
            f" {list(one.value.shape[1:])}: set config.data.shapes.{name}, or for pictures"
            " config.data.image_size"
        )
    if mask.ndim != one.mask.ndim:
        raise UserError(
            f"{where}: the mask of {name!r} has shape {list(mask.shape)}, the model takes"
            f" {[len(mask), *one.mask.shape[1:]]}"
        )
    if wanted.kind in "iu" and (
        values.dtype.kind not in "iu"
        or (values.size and not _held(values.min(), values.max(), wanted))
    ):
        raise UserError(
            f"{where}: {name!r} is {values.dtype} from {values.min()} to {values.max()}, the model"
            f" takes {wanted}"
        )


def check_record(record: Mapping[str, Any], answers: int, slices: int) -> None:
    """Raises a ValueError for a record that is not as `mmjax.data.sources.source.Source` says.

    Args:
        record: some of its fields.
        answers, slices: how many there are.
    """
    image = record.get("image")
    if "image" in record and (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
    ):
        found = getattr(image, "dtype", type(image).__name__), list(np.shape(image))
        raise ValueError(f"image is {found[0]} of shape {found[1]}, not uint8 [H W 3]")
    if "questions" not in record:
        return
    asked = record["questions"]
    lengths = {key: len(asked[key]) for key in ("question", "answer", "type")}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"questions of different lengths: {lengths}")
    if not all(isinstance(text, str) for text in asked["question"]):
        raise ValueError("a question is not a string")
    for key, count in (("answer", answers), ("type", slices)):
        numbers = np.asarray(asked[key])
        if numbers.size and (
            numbers.dtype.kind not in "iu" or not 0 <= numbers.min() <= numbers.max() < count
        ):
            raise ValueError(f"{key} {numbers.tolist()} is not from 0 to {count - 1}")


def _held(lowest: Any, highest: Any, dtype: np.dtype) -> bool:
    limits = np.iinfo(dtype)
    return bool(max(limits.min, 0) <= lowest and highest <= limits.max)  # ids are not negative
