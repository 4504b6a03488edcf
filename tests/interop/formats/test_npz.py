""".npz against NumPy itself, and archives that NumPy would not read either."""

import zipfile

import ml_dtypes
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.interop.formats.open_weights import open_weights
from tests.interop.formats import files

KINDS = [np.float32, np.float16, np.float64, np.int8, np.uint16, np.int64, bool, np.complex64]


def opened(tmp_path, data):
    (tmp_path / "x.npz").write_bytes(data)
    return open_weights(tmp_path / "x.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saves_reads_bit_for_bit(tmp_path, save):
    arrays = files.arrays_of(*KINDS)
    arrays["params/img/Transformer/encoderblock_0/kernel"] = np.ones((2, 3), np.float32)
    files.assert_same(files.contents(opened(tmp_path, files.npz(arrays, save=save))), arrays)


def test_any_order_of_bytes_and_axes_is_read_by_value(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays = {"big": array.astype(">f4"), "columns": np.asfortranarray(array)}
    found = files.contents(opened(tmp_path, files.npz(arrays)))
    np.testing.assert_array_equal(found["big"], array)
    np.testing.assert_array_equal(found["columns"], array)


def test_bfloat16_is_two_bytes_without_a_meaning(tmp_path):
    array = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
    found = files.contents(opened(tmp_path, files.npz({"w": array})))
    files.assert_same(found, {"w": array})


def test_texts_are_left_out(tmp_path):
    data = files.npz({"note": np.array("text"), "w": np.ones(2)})
    assert list(opened(tmp_path, data)) == ["w"]


def npy(descr, shape, data, *, order="False", version=1):
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def test_headers_of_python_2_and_of_later_versions_are_read(tmp_path):
    data = np.arange(2, dtype=np.float32)
    members = {
        "a.npy": npy("'<f4'", "(2L,)", data.tobytes()),
        "b.npy": npy('"<f4"', "(2,)", data.tobytes(), version=2),
        "readme.txt": b"text",
    }
    found = files.contents(opened(tmp_path, files.zipped(members)))
    files.assert_same(found, {"a": data, "b": data})


FOUR = b"1234"
BAD = {
    "objects": (npy("'|O'", "(1,)", FOUR), "'a' has the type O"),
    "records": (npy("[('x', '<f4')]", "(1,)", FOUR), "'a' holds records"),
    "bytes without a meaning": (npy("'|V1'", "(4,)", FOUR), "'a' has the type V1"),
    "an unknown width": (npy("'<f3'", "(1,)", FOUR), "'a' has the type f3"),
    "too short": (npy("'<f4'", "(2,)", FOUR), "'a' should have 8 bytes and has 4"),
    "too long": (npy("'<f4'", "(0,)", FOUR), "'a' should have 0 bytes and has 4"),
    "enormous": (npy("'<f4'", f"({2**60}, {2**60})", FOUR), "'a' has an impossible shape"),
    "a long number": (npy("'<f4'", f"({'9' * 6000},)", FOUR), "'a' has an impossible shape"),
    "code": (npy("'<f4'", "(__import__('os'),)", FOUR), "the header of 'a' lacks shape"),
    "two shapes": (npy("'<f4', 'shape': (1,)", "(1,)", FOUR), "the header of 'a' lacks shape"),
    "no order": (npy("'<f4'", "(1,)", FOUR, order="None"), "the header of 'a' lacks fortran"),
    "no magic": (b"numbers and more", "'a' is not a .npy file"),
    "short": (b"\x93NUM", "'a' is not a .npy file"),
    "an unknown version": (npy("'<f4'", "(1,)", FOUR, version=9), "'a' is not a .npy file"),
    "a header past the end": (b"\x93NUMPY\1\0\xff\xff{}" + FOUR, "the header of 'a' does not end"),
    "a header too long": (npy("'<f4'", "(1,)" + " " * 20_000, FOUR), "the header of 'a' does not"),
    "empty": (b"", "'a' is not a .npy file"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_bad_array_is_one_line_that_names_it(tmp_path, case, method):
    data, message = BAD[case]
    expect(tmp_path, files.zipped({"a.npy": data}, method), message)


def expect(tmp_path, data, message):
    with pytest.raises(UserError) as caught:
        files.contents(opened(tmp_path, data))
    assert message in str(caught.value)
    assert "x.npz: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_packed_bytes_that_do_not_unpack(tmp_path):
    array = np.arange(5000)
    good = files.npz({"a": array}, save=np.savez_compressed)
    middle = len(good) // 2
    flipped = good[:middle] + bytes(20) + good[middle + 20 :]
    with pytest.raises(UserError, match=r"'a\.npy' (does not unpack|unpacks to|does not match)"):
        files.contents(opened(tmp_path, flipped))


def test_a_member_that_unpacks_to_more_than_it_says(tmp_path):
    zeros = files.npz({"a": np.zeros(1 << 18)}, save=np.savez_compressed)
    size = (128 + (8 << 18)).to_bytes(4, "little")
    assert zeros.count(size) >= 1
    smaller = zeros.replace(size, (128 + (8 << 10)).to_bytes(4, "little"))
    with pytest.raises(UserError, match=r"'a' should have"):
        files.contents(opened(tmp_path, smaller))
