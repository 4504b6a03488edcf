"""Damaged PyTorch files: one line that names the file."""

import io
import zipfile

import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.interop.formats.open_weights import open_weights
from tests.interop.formats import files
from tests.interop.formats.files import Call, Name, Outside, pickled, rebuilt, storage

A = np.arange(12, dtype=np.float32)
TYPED = Name("torch._utils", "_rebuild_tensor_v2")
ORDERED = Call(Name("collections", "OrderedDict"), ())


def tensor(*arguments):
    return {"a": Call(TYPED, (*arguments, False, ORDERED))}


def outside(*identity):
    return tensor(Outside(identity), 0, (2,), (1,))


FLOATS = Name("torch", "FloatStorage")
VALUES = {
    "past the end of its storage": ({"a": rebuilt(A, "0", (13,), (1,))}, "'a' lies outside"),
    "strides past the end": ({"a": rebuilt(A, "0", (3, 3), (5, 1))}, "'a' lies outside"),
    "offset past the end": ({"a": rebuilt(A, "0", (2,), (1,), 11)}, "'a' lies outside"),
    "negative offset": ({"a": rebuilt(A, "0", (2,), (1,), -1)}, "'a' lies outside"),
    "negative strides": ({"a": rebuilt(A, "0", (2,), (-1,), 5)}, "'a' has impossible strides"),
    "negative size": ({"a": rebuilt(A, "0", (-2,), (1,))}, "'a' has an impossible shape"),
    "a size that is none": ({"a": rebuilt(A, "0", ("x",), (1,))}, "'a' has an impossible shape"),
    "enormous expanded": ({"a": rebuilt(A, "0", (10**9,), (0,))}, "'a' is larger than the file"),
    "enormous": ({"a": rebuilt(A, "0", (10**30,), (0,))}, "'a' has an impossible shape"),
    "enormous stride": ({"a": rebuilt(A, "0", (2,), (10**30,))}, "'a' lies outside"),
    "fewer strides": ({"a": rebuilt(A, "0", (2, 2), (1,))}, "'a' has impossible strides"),
    "no storage": (tensor("0", 0, (2,), (1,)), "with the wrong arguments"),
    "few arguments": ({"a": Call(TYPED, (storage(A, "0"),))}, "with the wrong arguments"),
    "quantized": (
        {"a": Call(Name("torch._utils", "_rebuild_qtensor"), ())},
        "wants to run 'torch._utils._rebuild_qtensor'",
    ),
    "whole module": (outside("module", Name("models", "Net"), "", ""), "a whole 'models.Net'"),
    "unknown storage": (
        outside("storage", Name("torch", "QInt8Storage"), "0", "cpu", 12),
        "a storage that is none",
    ),
    "negative storage": (outside("storage", FLOATS, "0", "cpu", -12), "a storage that is none"),
    "enormous storage": (outside("storage", FLOATS, "0", "cpu", 2**70), "a storage that is none"),
    "a number for a storage": (tensor(Outside(3), 0, (2,), (1,)), "a storage that is none"),
    "missing storage": (
        {"a": rebuilt(A, "0"), "b": rebuilt(A, "7")},
        "its storage '7' is missing",
    ),
    "another size": ({"a": rebuilt(A[:5], "0")}, "its storage '0' has another size"),
    "two sizes": ({"a": rebuilt(A, "0"), "b": rebuilt(A[:5], "0")}, "'0' has two sizes"),
    "a name twice": ({"a": {"b": rebuilt(A, "0")}, "a.b": rebuilt(A, "0")}, "it has 'a.b' twice"),
    "no tensors": ({"epoch": storage(A, "0")}, "has no arrays of numbers"),
}


@pytest.mark.parametrize("case", VALUES)
@pytest.mark.parametrize("write", [files.torch_zip, files.torch_legacy])
def test_a_description_that_cannot_be_true(tmp_path, write, case):
    value, message = VALUES[case]
    expect(tmp_path, write(value, {"0": A}), message)


GOOD = files.torch_zip({"a": rebuilt(A, "0")}, {"0": A})
LEGACY = files.torch_legacy({"a": rebuilt(A, "0")}, {"0": A})
PICKLE = pickled({"a": rebuilt(A, "0")})
ARCHIVES = {
    "cut": (GOOD[:-100], "not a whole zip archive"),
    "cut early": (GOOD[:40], "not a whole zip archive"),
    "no pickle": (files.zipped({"x/version": b"3"}), "a zip archive without weights"),
    "two pickles": (
        files.zipped({"x/data.pkl": PICKLE, "y/data.pkl": PICKLE}),
        "an archive with 2 data.pkl",
    ),
    "big-endian": (
        files.zipped({"x/data.pkl": PICKLE, "x/byteorder": b"big", "x/data/0": A.tobytes()}),
        "big-endian",
    ),
    "another method": (
        files.zipped({"x/data.pkl": PICKLE, "x/data/0": A.tobytes()}, 12),
        "packed in a way",
    ),
    "damaged pickle": (GOOD.replace(b"FloatStorage", b"FloatStorags"), "checksum"),
    "no local header": (
        GOOD.replace(b"PK\3\4", b"PK\3\5").replace(b"PK\3\5", b"PK\3\4", 1),
        "is not where",
    ),
    "legacy cut": (LEGACY[:-1], "48 bytes should follow, 47 do"),
    "legacy cut early": (LEGACY[:30], "bytes should follow"),
    "legacy, another version": (
        files.torch_legacy({"a": rebuilt(A, "0")}, {"0": A}, version=1002),
        "unknown version",
    ),
    "legacy, big-endian": (
        files.torch_legacy({"a": rebuilt(A, "0")}, {"0": A}, little=False),
        "big-endian",
    ),
    "legacy, a storage of nobody": (
        files.torch_legacy({"a": rebuilt(A, "0")}, {"0": A, "1": A}),
        "'1' comes twice or belongs to nothing",
    ),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_damaged_archive(tmp_path, case):
    expect(tmp_path, *ARCHIVES[case])


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_come_twice_or_overlap(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in ("x/data.pkl", "x/data/0", "x/data/0"):
            archive.writestr(name, PICKLE)
    expect(tmp_path, data.getvalue(), "the member 'x/data/0' twice")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in ("x/data.pkl", "x/data/0"):
            archive.writestr(name, PICKLE)
        archive.filelist[1].header_offset = 7
    expect(tmp_path, data.getvalue(), "overlaps another")


def expect(tmp_path, data, message):
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(UserError) as caught:
        files.contents(open_weights(tmp_path / "x.pt"))
    assert message in str(caught.value)
    assert "x.pt: " in str(caught.value)
    assert "\n" not in str(caught.value)
