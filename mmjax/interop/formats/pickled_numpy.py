"""NumPy arrays inside of a pickle: their numbers are in the pickle itself."""

import re
from typing import Any

import numpy as np

from mmjax.interop.formats.reading import File


class NumpyType:
    def __init__(self, code: str) -> None:
        self.code = code
        self.big = False


class NumpyArray:
    """An array inside the pickle itself; `value` is None for one that is not of numbers."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None


def array(
    file: File, shape: tuple[Any, ...], kind: NumpyType, transposed: bool, data: bytes
) -> np.ndarray | None:
    """The array, or None if it is not of numbers."""
    if not re.fullmatch(r"b1|[iu][1248]|f[248]|c(8|16)", kind.code):
        return None
    dtype = np.dtype(kind.code)
    if file.byte_count("an array", shape, dtype) != len(data):
        raise file.damaged("has an array of NumPy's with too few or too many bytes")
    flat = np.frombuffer(bytearray(data), dtype)
    flat = flat.byteswap() if kind.big else flat
    return flat.reshape(shape[::-1]).T if transposed else flat.reshape(shape)
