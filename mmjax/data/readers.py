"""What users have -> the inputs of a model: a function for each kind of modality.

Each takes a list with one value or None for each example; None is masked.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmjax.data import transforms
from mmjax.types import Input, UserError


def read_images(values: Sequence[Any], *, size: int) -> Input:
    """Paths, PIL images or uint8 arrays [H W 3] -> uint8 [B size size 3].

    Raises:
        UserError: an image that cannot be read.
    """
    pixels = np.zeros((len(values), size, size, 3), np.uint8)
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
    texts = ["" if value is None else value for value in values]
    return Input(*encode(texts))


def read_arrays(
    values: Sequence[Any], *, name: str, shape: tuple[int, ...], dtype: Any, masked_axes: int
) -> Input:
    """Arrays of one shape -> [B *shape].

    Args:
        name: of the modality, for messages.
        shape, dtype: of one example.
        masked_axes: how many axes of an example its mask has.

    Raises:
        UserError: another shape, not numbers, or numbers that `dtype` cannot hold.
    """
    whole = np.issubdtype(dtype, np.integer)
    rows = np.zeros((len(values), *shape), dtype)
    there = np.zeros((len(values), *shape[:masked_axes]), bool)
    for i, value in enumerate(values):
        if value is None:
            continue
        array = np.asarray(value)
        if array.shape != shape or array.dtype.kind not in ("iu" if whole else "bfiu"):
            raise UserError(
                f"{name}: expected {np.dtype(dtype)} numbers of shape {list(shape)}, got"
                f" {array.dtype} of shape {list(array.shape)}"
            )
        limits = np.iinfo(dtype) if whole else np.finfo(dtype)
        if array.size and not (limits.min <= array.min() and array.max() <= limits.max):
            raise UserError(
                f"{name}: {np.dtype(dtype)} holds numbers from {limits.min} to {limits.max}, got"
                f" {array.min()} to {array.max()}"
            )
        rows[i], there[i] = array, True
    return Input(rows, there)
