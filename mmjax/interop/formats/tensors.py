"""Arrays in files by name: what every reader returns and every importer takes."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from mmjax.types import UserError


class Tensor(NamedTuple):
    """An array in a file, not read yet."""

    shape: tuple[int, ...]
    dtype: np.dtype  # ml_dtypes' for bfloat16 / float8
    read: Callable[[], np.ndarray]  # reads just this one; the result owns its memory
    where: str  # the file, for messages


Weights = Mapping[str, Tensor]


def descend(weights: Weights, prefix: str) -> Weights:
    """The tensors called `PREFIX.NAME`, as `NAME`: `descend(weights, "state_dict")`.

    Raises:
        UserError: no name begins so; the message has the first parts of the names there are.
    """
    start = f"{prefix}."
    found = {name[len(start) :]: t for name, t in weights.items() if name.startswith(start)}
    if not found:
        where = next(iter(weights.values())).where if weights else "the weights"
        firsts = sorted({name.split(".")[0] for name in weights})
        more = ", …" if len(firsts) > 8 else ""
        raise UserError(
            f"{where}: no tensor is called {prefix!a}.…; names begin with"
            f" {', '.join(ascii(first)[:60] for first in firsts[:8])}{more}"
        )
    return found
