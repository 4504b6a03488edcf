"""Arrays in files by name: what every reader returns and every importer takes."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


class Tensor(NamedTuple):
    """An array in a file, not read yet."""

    shape: tuple[int, ...]
    dtype: np.dtype  # ml_dtypes' for bfloat16 / float8
    read: Callable[[], np.ndarray]  # reads just this one; the result owns its memory
    where: str  # the file, for messages


Weights = Mapping[str, Tensor]
