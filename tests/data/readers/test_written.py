"""Numbers as text: JSON, or a .npy file, for every kind of input that is numbers."""

import functools

import numpy as np
import pytest

from mmjax.data.readers import by_kind, lengths
from mmjax.errors import UserError

VECTOR = functools.partial(
    by_kind.read_arrays, name="x", shape=(3,), dtype=np.float32, masked_axes=1
)
IDS = functools.partial(by_kind.read_arrays, name="x", shape=(3,), dtype=np.int32, masked_axes=1)
SERIES = functools.partial(lengths.read_steps, name="x", shape=(3, 2), dtype=np.float32)


@pytest.mark.parametrize(
    ("read", "value", "text"),
    [
        (VECTOR, np.array([1.5, np.nan, 3]), " [1.5, null, 3]"),
        (IDS, np.array([1, 2, 3]), "[1, 2, 3]"),
        (SERIES, np.array([[1, 2], [3, 4.5]]), "[[1, 2], [3, 4.5]]"),
    ],
)
def test_a_text_is_the_array_that_it_stands_for(tmp_path, read, value, text):
    np.save(tmp_path / "a.npy", value)
    for given in (text, f"{tmp_path}/a.npy", tmp_path / "a.npy"):
        for found, expected in zip(read([given, None])[:2], read([value, None])[:2], strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[1, 2", "is no JSON"),
        ("1 2 3", "neither JSON, such as"),
        ("lost.npy", "no such file"),
        ("[1, 2]", r"expected float32 numbers of shape \[3\], got int64 of shape \[2\]"),
        ('["a", "b", "c"]', "got <U1 of shape"),
    ],
)
def test_what_is_neither_is_one_line(value, words):
    with pytest.raises(UserError, match=f"^x: .*{words}"):
        VECTOR([value])


def test_a_file_of_objects_is_not_run(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(b"no array")
    for name in ("a", "b"):
        with pytest.raises(UserError, match=rf"{name}.npy cannot be read .*numpy.save"):
            VECTOR([str(tmp_path / f"{name}.npy")])
