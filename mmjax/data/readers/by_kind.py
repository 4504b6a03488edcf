"""What users have -> the inputs of a model: a function for each kind of modality.

Each takes a list with one value or None for each example; None is masked.
"""

import numbers
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mmjax.data.columns.cells import SURROGATE
from mmjax.data.pipeline.scaling import Scale
from mmjax.data.readers import transforms
from mmjax.data.readers.written import from_text
from mmjax.errors import UserError
from mmjax.types import Input


def read_images(values: Sequence[Any], *, size: tuple[int, int]) -> Input:
    """Paths, bytes, PIL images or uint8 arrays [H W 3] -> uint8 [B height width 3], of this size.

    Raises:
        UserError: an image that cannot be read.
    """
    pixels = np.zeros((len(values), *size, 3), np.uint8)
    for row, value in zip(pixels, values, strict=True):
        if value is not None:
            row[:] = transforms.read_image(value, size)
    return Input(pixels, np.array([value is not None for value in values]))


def read_sized(
    values: Sequence[Any],
    *,
    shape: tuple[int, ...],
    see: Callable[[Sequence[Any]], Sequence[np.ndarray]],
) -> Input:
    """Paths, PIL images or uint8 arrays [H W 3] -> uint8 [B *shape], by `see`: images -> pixels.

    Raises:
        UserError: an image that cannot be read, or that comes out in another size.
    """
    pixels = np.zeros((len(values), *shape), np.uint8)
    for row, value in zip(pixels, values, strict=True):
        if value is None:
            continue
        found = see([value])[0]
        if found.shape != shape:
            raise UserError(
                f"image: {found.shape[0]}x{found.shape[1]} pixels when resized as the model's files"
                f" say, but it sees {shape[0]}x{shape[1]}: crop it to a square"
            )
        row[:] = found
    return Input(pixels, np.array([value is not None for value in values]))


def read_texts(
    values: Sequence[Any], *, encode: Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]
) -> Input:
    """Strings -> word ids int32 [B L], by `encode`: texts -> (ids, mask).

    Raises:
        UserError: a value that is not a string.
    """
    for value in values:
        if value is not None and not isinstance(value, str):
            raise UserError(f"text must be a string, not {type(value).__name__}")
        if value is not None and SURROGATE.search(value):
            raise UserError(f"text {value!r} holds half of a character (a lone surrogate): mend it")
    texts = ["" if value is None else value for value in values]
    return Input(*encode(texts))


def read_arrays(
    values: Sequence[Any] | np.ndarray,
    *,
    name: str,
    shape: tuple[int, ...],
    dtype: Any,
    masked_axes: int,
    scale: Scale | None = None,
) -> Input:
    """Arrays of one shape -> [B *shape].

    A number that is None, NaN or masked in a numpy.ma array is missing: False in the mask. Where
    the mask has fewer axes, it is of whole steps, which have all their numbers or none.

    Args:
        name: of the modality, for messages.
        shape, dtype: of one example.
        masked_axes: how many axes of an example its mask has.
        scale: of its features in training, if they are scaled.

    Raises:
        UserError: another shape, not numbers, numbers that `dtype` cannot hold, or a step without
            some of its numbers.
    """
    whole = np.issubdtype(dtype, np.integer)
    limits = np.iinfo(dtype) if whole else np.finfo(dtype)
    rows = np.zeros((len(values), *shape), dtype)
    there = np.zeros((len(values), *shape[:masked_axes]), bool)
    for place, (array, real) in _blocks(values, name):
        if array.shape[1:] != shape or array.dtype.kind not in ("iu" if whole else "bfiu"):
            raise UserError(
                f"{name}: expected {np.dtype(dtype)} numbers of shape {list(shape)}, got"
                f" {array.dtype} of shape {list(array.shape[1:])}"
            )
        known = array[real]
        if known.size and not (limits.min <= known.min() and known.max() <= limits.max):
            raise UserError(
                f"{name}: {np.dtype(dtype)} holds numbers from {limits.min} to {limits.max}, got"
                f" {known.min()} to {known.max()}"
            )
        steps = real.reshape(*real.shape[: 1 + masked_axes], -1)
        there[place] = steps.all(axis=-1)
        partial = np.argwhere(steps.any(axis=-1) & ~there[place])
        if len(partial):
            raise UserError(
                f"{name}: step {' '.join(map(str, partial[0][1:]))} lacks some of its numbers; a"
                " model takes steps as wholes: give all numbers of a step, or none"
            )
        rows[place] = (
            np.where(real, array, 0) if scale is None else _scaled(array, there[place], name, scale)
        )
    return Input(rows, there)


def _blocks(
    values: Sequence[Any] | np.ndarray, name: str
) -> Iterator[tuple[slice, tuple[np.ndarray, np.ndarray]]]:
    """Rows, and what `numbers_of` finds in them: all at once of an array, else one by one."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        yield slice(None), numbers_of(values, name)
        return
    for i, value in enumerate(values):
        if value is not None:
            array, real = numbers_of(value, name)
            yield slice(i, i + 1), (array[None], real[None])


def numbers_of(value: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """What a user has for an array, as one, and which of its numbers are there.

    A text is a list in JSON or the path of a .npy file; see `written.from_text`.

    Raises:
        UserError: lists of different lengths, or a text that is neither.
    """
    value = from_text(value, name)
    try:
        masked = np.ma.isMaskedArray(value)
        array = np.asarray(value.filled(0) if masked else value)
    except ValueError as error:
        raise UserError(f"{name}: no array: {error}") from error
    real = np.asarray(~np.ma.getmaskarray(value)) if masked else np.ones(array.shape, bool)
    if array.dtype.kind == "O":
        known = np.array([x is not None for x in array.flat], bool).reshape(array.shape)
        if all(isinstance(x, numbers.Real) for x in array[known]):
            array = np.where(known, array, np.nan).astype(np.float64)
    if array.dtype.kind == "f":
        real = real & ~np.isnan(array)
    return array, np.asarray(real)


def _scaled(array: np.ndarray, there: np.ndarray, name: str, scale: Scale) -> np.ndarray:
    scaled = scale.apply(array, there)
    if not np.isfinite(scaled).all():
        raise UserError(f"{name}: a number is too far from those of training for float32")
    return scaled
