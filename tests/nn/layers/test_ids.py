"""Numbers that choose rows of a table: numpy's rows, or an error, never a neighbour's row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmjax.errors import UserError
from mmjax.nn.layers.ids import check_ids, rows_of

COUNT = 7
TABLE = np.arange(1.0, 1 + 3 * COUNT, dtype=np.float32).reshape(COUNT, 3)
NUMBERS = st.integers(-COUNT - 2, 2 * COUNT)
compiled = jax.jit(lambda ids: rows_of(jnp.asarray(TABLE), ids, "ids"))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(arrays(np.int32, (2, 3), elements=NUMBERS))
def test_rows_are_those_of_numpy_or_an_error(ids):
    inside = (ids >= 0) & (ids < COUNT)
    expected = np.where(inside[..., None], TABLE[np.where(inside, ids, 0)], np.nan)
    np.testing.assert_array_equal(compiled(ids), expected)
    if inside.all():
        np.testing.assert_array_equal(
            rows_of(jnp.asarray(TABLE), jnp.asarray(ids), "ids"), TABLE[ids]
        )
        return
    with pytest.raises(UserError, match=r"^ids: -?\d+ at \[.*\], but there are 0 to 6: ") as caught:
        rows_of(jnp.asarray(TABLE), jnp.asarray(ids), "ids")
    assert str(caught.value).count("\n") == 0
    named = int(str(caught.value).split()[1])
    assert named in ids[~inside]


def test_no_numbers_are_none_out_of_range():
    check_ids("ids", np.zeros((0, 4), np.int32), 1)
