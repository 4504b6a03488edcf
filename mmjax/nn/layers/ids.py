"""Whole numbers that choose the row of a table: what is outside of it is an error.

Indexing by brackets JAX takes the nearest row instead, or counts from the end, without a word.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mmjax.errors import UserError


def check_ids(name: str, ids: Any, count: int, advice: str = "") -> None:
    """Raises UserError for numbers outside of 0 to count - 1, where their values are known.

    Numbers of a program that is being traced have no values yet, and pass.

    Args:
        name: of the input, for the message.
        ids: whole numbers of any shape.
        count: rows of the table.
        advice: what to do, for the message.
    """
    if isinstance(ids, jax.core.Tracer) or not np.size(ids):
        return
    array = np.asarray(ids)
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0 or highest >= count:
        wrong = lowest if lowest < 0 else highest
        place = np.argwhere(array == wrong)[0].tolist()
        advice = advice or "the numbers are of another vocabulary, or of none"
        raise UserError(f"{name}: {wrong} at {place}, but there are 0 to {count - 1}: {advice}")


def rows_of(
    table: Float[Array, "V D"], ids: Int[Array, "*places"], name: str
) -> Float[Array, "*places D"]:
    """The rows of a table that whole numbers choose.

    Raises:
        UserError: a number that is in no row. Within a compiled program, which cannot raise it, the
            row is NaN, so that it is noticed.
    """
    check_ids(name, ids, table.shape[0])
    # Below zero JAX counts from the end; beyond the end `take` gives NaN.
    return jnp.take(table, jnp.where(ids < 0, table.shape[0], ids), axis=0)
