"""CTranslate2's model.bin by a small writer of the tests' own."""

import struct

import ml_dtypes
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.interop.formats.open_weights import open_weights
from tests.interop.formats import files

KINDS = [np.float32, np.int8, np.int16, np.int32, np.float16, ml_dtypes.bfloat16]
ARRAYS = files.arrays_of(*KINDS)
A = np.arange(4, dtype=np.float32)


def opened(tmp_path, data):
    (tmp_path / "model.bin").write_bytes(data)
    return open_weights(tmp_path)


@pytest.mark.parametrize("version", [4, 5, 6])
def test_every_type_reads_bit_for_bit_and_by_its_other_names(tmp_path, version):
    name = list(ARRAYS)[3]
    data = files.ctranslate2(ARRAYS, [("other", name), ("third", "other")], version=version)
    found = files.contents(opened(tmp_path, data))
    files.assert_same(found, {**ARRAYS, "other": ARRAYS[name], "third": ARRAYS[name]})


@pytest.mark.parametrize("version", [2, 3])
def test_older_versions_know_a_type_by_its_width(tmp_path, version):
    arrays = files.arrays_of(np.float32, np.int16, np.int8)
    data = files.ctranslate2(arrays, version=version)
    files.assert_same(files.contents(opened(tmp_path, data)), arrays)


GOOD = files.ctranslate2({"a": A}, [("b", "a")])
START = 4 + 14 + 4  # version, class, revision
BAD = {
    "cut in the numbers": (GOOD[: START + 20], "bytes should follow"),
    "cut in the names": (GOOD[:-1], "bytes should follow"),
    "more follows": (GOOD + b"x", "more follows"),
    "a name twice": (files.ctranslate2({"a": A}, [("a", "a")]), "it has 'a' twice"),
    "another name for nothing": (files.ctranslate2({"a": A}, [("b", "c")]), "'c', which is not"),
    "unknown type": (GOOD.replace(struct.pack("<BI", 0, 16), struct.pack("<BI", 9, 16)), "type 9"),
    "another size": (
        GOOD.replace(struct.pack("<BI", 0, 16), struct.pack("<BI", 0, 12)),
        "'a' of 16 bytes has the place of 12",
    ),
    "a larger size": (
        GOOD.replace(struct.pack("<BI", 0, 16), struct.pack("<BI", 0, 20)) + bytes(4),
        "'a' of 16 bytes has the place of 20",
    ),
    "enormous": (
        GOOD.replace(struct.pack("<BI", 1, 4), struct.pack("<BI", 1, 2**32 - 1)),
        "has the place of 16",
    ),
    "many variables": (
        GOOD[:START] + b"\xff\xff\xff\xff" + GOOD[START + 4 :],
        "(before byte",
    ),
    "not text": (GOOD.replace(b"a\0\1", b"\xff\0\1"), "not UTF-8"),
    "a name without an end": (GOOD.replace(b"a\0\1", b"aa\1"), "a name does not end"),
    "a name of nothing": (GOOD.replace(b"\2\0a\0\1", b"\0\0a\0\1"), "a name does not end"),
    "another version": (b"\7" + GOOD[1:], "not weights of a known format"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, case):
    data, message = BAD[case]
    with pytest.raises(UserError) as caught:
        opened(tmp_path, data)
    assert message in str(caught.value)
    assert "model.bin: " in str(caught.value)
    assert "\n" not in str(caught.value)
