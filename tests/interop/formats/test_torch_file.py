"""PyTorch files written without PyTorch: what they hold, what is refused, what never runs."""

import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.interop.formats.open_weights import open_weights
from tests.interop.formats import files
from tests.interop.formats.files import Call, Name, New, pickled, rebuilt

WRITERS = {"zip": files.torch_zip, "legacy": files.torch_legacy}
A = np.arange(12, dtype=np.float32).reshape(3, 4)
FLAT = A.reshape(-1)


def opened(tmp_path, data):
    (tmp_path / "x.pt").write_bytes(data)
    return open_weights(tmp_path / "x.pt")


@pytest.fixture(params=WRITERS)
def write(request):
    return WRITERS[request.param]


def test_every_type_reads_bit_for_bit(tmp_path, write):
    arrays = files.arrays_of(*files.STORAGES)
    storages = {str(i): array for i, array in enumerate(arrays.values())}
    value = {name: rebuilt(array, str(i)) for i, (name, array) in enumerate(arrays.items())}
    files.assert_same(files.contents(opened(tmp_path, write(value, storages))), arrays)


def test_newer_types_are_bytes_with_the_type_beside_them(tmp_path, write):
    for name in ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"):
        dtype = np.dtype(getattr(ml_dtypes if "float8" in name else np, name))
        array = np.arange(1, 13).astype(dtype).reshape(3, 4)
        raw = array.reshape(-1).view(np.uint8)
        kind = Name("torch.storage", "UntypedStorage")
        place = files.Outside(("storage", kind, "0", "cpu", raw.size))
        rest = (False, Call(Name("collections", "OrderedDict"), ()), Name("torch", name))
        rebuild = Name("torch._utils", "_rebuild_tensor_v3")
        value = {
            "whole": Call(rebuild, (place, 0, (3, 4), (4, 1), *rest)),
            "part": Call(rebuild, (place, 1, (2, 2), (1, 4), *rest)),
        }
        found = files.contents(opened(tmp_path, write(value, {"0": raw})))
        part = array.reshape(-1)[[1, 5, 2, 6]].reshape(2, 2)
        files.assert_same(found, {"whole": array, "part": part})


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((4, 3), (1, 4), 0),
        ((2, 2), (4, 2), 1),
        ((3,), (4,), 3),
        ((5, 3), (0, 1), 2),
        ((2, 3, 3), (0, 4, 1), 1),
        ((1, 3), (10**9, 1), 9),
        ((), (), 11),
        ((0, 7), (7, 1), 12),
        ((4, 0), (10**30, 1), 0),
        ((9, 4), (1, 1), 0),
    ],
)
def test_views_of_one_storage_are_what_numpy_makes_of_them(tmp_path, write, shape, strides, offset):
    value = {"view": rebuilt(A, "0", shape, strides, offset), "whole": rebuilt(A, "0")}
    found = files.contents(opened(tmp_path, write(value, {"0": A})))
    expected = np.lib.stride_tricks.as_strided(
        FLAT[offset:],
        shape,
        [s * 4 * (n > 1) * (0 not in shape) for s, n in zip(strides, shape, strict=True)],
    )
    files.assert_same(found, {"view": np.array(expected), "whole": A})
    found["view"][...] = 0  # it is nobody else's memory
    np.testing.assert_array_equal(found["whole"], A)


def test_nested_names_are_joined_and_settings_left_out(tmp_path, write):
    settings = Call(Name("argparse", "Namespace"), ())
    value = {
        "epoch": 3,
        "rate": 0.5,
        "args": settings,
        "note": "text",
        "state_dict": {"module.w": rebuilt(A, "0")},
        "optimizer": {"state": {0: {"m": rebuilt(A, "1")}}, "groups": [{"lr": 1}, rebuilt(A, "0")]},
    }
    weights = opened(tmp_path, write(value, {"0": A, "1": A + 1}))
    assert list(weights) == ["state_dict.module.w", "optimizer.state.0.m", "optimizer.groups.1"]
    np.testing.assert_array_equal(weights["state_dict.module.w"].read(), A)
    np.testing.assert_array_equal(weights["optimizer.state.0.m"].read(), A + 1)


def test_numpy_arrays_in_the_pickle_are_read(tmp_path, write):
    def array(value, code, order="<", fortran=False):
        dtype = New(Name("numpy", "dtype"), None)
        dtype = Call(Name("numpy", "dtype"), (code, False, True))
        data = Call(Name("_codecs", "encode"), (value.decode("latin-1"), "latin1"))
        made = Call(Name("numpy.core.multiarray", "_reconstruct"), (Name("numpy", "ndarray"), (0,)))
        made_of = (1, (2, 3), (dtype, (3, order, None, None, None, -1, -1, 0)), fortran, data)
        return made, made_of

    big = np.arange(6, dtype=">f4").reshape(2, 3)
    little = np.arange(6, dtype="<i8").reshape(2, 3)

    def body(made, state):
        version, shape, (dtype, order), fortran, data = state
        typed = files.instructions(dtype) + files.instructions(order) + b"b"
        inner = b"".join(files.instructions(part) for part in (version, shape))
        rest = files.instructions(fortran) + files.instructions(data)
        return files.instructions(made) + b"(" + inner + typed + rest + b"tb"

    pickle = b"\x80\x02}("
    pickle += files.instructions("big") + body(*array(big.tobytes(), "f4", ">"))
    pickle += files.instructions("columns") + body(*array(little.T.tobytes(), "i8", "<", True))
    pickle += files.instructions("objects") + body(*array(b"\0" * 48, "O8", "|"))
    found = files.contents(opened(tmp_path, write(pickle + b"u.", {})))
    np.testing.assert_array_equal(found.pop("big"), big)
    np.testing.assert_array_equal(found.pop("columns"), little)
    assert found == {}


def test_torchscript_modules_are_read_as_data(tmp_path):
    linear = New(
        Name("__torch__.torch.nn.modules.linear.___torch_mangle_0", "Linear"),
        {"training": False, "weight": rebuilt(A, "0"), "bias": None},
    )
    value = New(
        Name("__torch__", "Model"), {"0": linear, "sizes": [1, 2], "scale": rebuilt(A, "1")}
    )
    code = {"m/code/__torch__.py": b"raise SystemExit", "m/constants.pkl": pickled(())}
    data = files.torch_zip(value, {"0": A, "1": A * 2}, root="m", more=code.items())
    files.assert_same(files.contents(opened(tmp_path, data)), {"0.weight": A, "scale": A * 2})


def test_a_tensor_is_read_alone(tmp_path):
    big = np.zeros(1 << 20, np.float32)
    data = files.torch_zip({"small": rebuilt(A, "0"), "big": rebuilt(big, "1")}, {"0": A, "1": big})
    (tmp_path / "x.pt").write_bytes(data)
    tracemalloc.start()
    weights = open_weights(tmp_path / "x.pt")
    weights["small"].read()
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_checksum_is_compared_also_for_a_part_of_a_storage(tmp_path):
    value = {"good": rebuilt(A, "0"), "whole": rebuilt(A, "1"), "part": rebuilt(A, "1", (2,), (1,))}
    data = files.torch_zip(value, {"0": A, "1": A + 40})
    at = data.index((A + 40).tobytes())
    weights = opened(tmp_path, data[: at + 40] + b"!" + data[at + 41 :])
    np.testing.assert_array_equal(weights["good"].read(), A)
    for name in ("whole", "part", "part"):
        with pytest.raises(
            UserError, match=r"x.pt: .*'archive/data/1' does not match its checksum"
        ):
            weights[name].read()


def test_an_archive_without_checksums_and_a_packed_one_are_read(tmp_path):
    value = {"a": rebuilt(A, "0"), "part": rebuilt(A, "0", (2,), (1,), 3)}
    expected = {"a": A, "part": FLAT[3:5]}
    packed = files.torch_zip(value, {"0": A}, method=zipfile.ZIP_DEFLATED)
    files.assert_same(files.contents(opened(tmp_path, packed)), expected)
    data = bytearray(files.torch_zip(value, {"0": A}))
    at = data.index(b"PK\1\2")
    while at >= 0:
        data[at + 16 : at + 20] = bytes(4)
        at = data.find(b"PK\1\2", at + 1)
    files.assert_same(files.contents(opened(tmp_path, bytes(data))), expected)
