"""Damaged files of every format: arrays or one line, little memory, little time, nothing else.

MMJAX_FUZZ=20000 tries that many a format, which takes minutes.
"""

import os
import struct
import time
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmjax.errors import UserError
from mmjax.interop.formats.open_weights import open_weights
from tests.interop.formats import files
from tests.interop.formats.files import Call, Name, New, rebuilt

EXAMPLES = int(os.environ.get("MMJAX_FUZZ", "150"))
MAX_BYTES = 40_000_000
MAX_SECONDS = 5

A = np.arange(12, dtype=np.float32).reshape(3, 4)
B = np.arange(5).astype(ml_dtypes.bfloat16)
NUMPY = Call(Name("numpy.core.multiarray", "_reconstruct"), (Name("numpy", "ndarray"), (0,)))
STATE = {
    "model": {"w": rebuilt(A, "0"), "b": rebuilt(B, "1"), "t": rebuilt(A, "0", (4, 3), (1, 4))},
    "optimizer": [{"step": 3, "lr": 0.1}, NUMPY],
    "args": Call(Name("argparse", "Namespace"), ()),
}
MODULE = New(Name("__torch__.torch.nn", "Linear"), {"weight": rebuilt(A, "0"), "training": True})
STORAGES = {"0": A, "1": B}


def without_checksums(data):
    """So that damage inside of a member reaches what reads it."""
    parts = data.split(b"PK\1\2")
    return b"PK\1\2".join([parts[0], *(p[:12] + bytes(4) + p[16:] for p in parts[1:])])


def shaped(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HEADER = {
    "__metadata__": {"format": "pt"},
    "block.w": shaped("F32", [3, 4], 0, 48),
    "b": shaped("BF16", [5], 48, 58),
    "none": shaped("I64", [0, 2], 58, 58),
}
ARRAYS = {"block/w": A, "half": A.astype(np.float16), "one": np.array(3, np.int32)}
SEEDS = {
    "safetensors": [
        files.safetensors(HEADER, A.tobytes() + B.tobytes()),
        files.safetensors({"x": shaped("I8", [2, 1, 2], 0, 4)}, b"1234"),
    ],
    "zip": [
        files.torch_zip(STATE, STORAGES),
        without_checksums(files.torch_zip(STATE, STORAGES)),
        without_checksums(files.torch_zip(MODULE, {"0": A})),
    ],
    "packed": [
        files.torch_zip(STATE, STORAGES, method=8),
        files.npz(ARRAYS, save=np.savez_compressed),
    ],
    "legacy": [files.torch_legacy(STATE, STORAGES), files.torch_legacy(MODULE, {"0": A})],
    "npz": [files.npz(ARRAYS), without_checksums(files.npz(ARRAYS))],
    "ctranslate2": [
        files.ctranslate2(ARRAYS, [("other", "half")]),
        files.ctranslate2({"w": A}, version=3),
    ],
}
TELLING = st.sampled_from(
    [
        *(struct.pack("<q", n) for n in (-1, 2**31, 2**62, 2**63 - 1, 1 << 40)),
        *(struct.pack("<i", n) for n in (-1, -(2**31), 2**31 - 1, 100, 0)),
        b"\xff",
        b"\0",
        b"-1",
        b"9" * 20,
        b"[]{}",
        b"\x85\x86\x87",
        b"0h\0h\0\x86",
        b"cos\nsystem\n",
        b"R",
        b"b.",
        b"PK\1\2",
        b"\xed\xa0\x80",
    ]
)
EDIT = st.tuples(
    st.sampled_from(["flip", "over", "insert", "cut", "delete", "repeat", "splice"]),
    st.integers(0, 2**20),
    st.integers(0, 2**20),
    TELLING | st.binary(min_size=1, max_size=12),
)


def damaged(seeds, number, edits):
    data = bytearray(seeds[number % len(seeds)])
    for kind, at, size, new in edits:
        at %= len(data) + 1
        size = size % 64 + 1
        match kind:
            case "flip" if at < len(data):
                data[at] ^= 1 << (size % 8)
            case "over":
                data[at : at + len(new)] = new
            case "insert":
                data[at:at] = new
            case "cut":
                del data[at:]
            case "delete":
                del data[at : at + size]
            case "repeat":
                data[at:at] = data[at : at + size]
            case "splice":
                other = seeds[size % len(seeds)]
                data[at:] = other[at % (len(other) + 1) :]
    return bytes(data)


@pytest.mark.parametrize("form", SEEDS)
def test_a_damaged_file_gives_arrays_or_one_line(tmp_path, form):
    path = tmp_path / "x.safetensors"
    outcomes = {"read": 0, "refused": 0}

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 9), st.lists(EDIT, min_size=1, max_size=4))
    def attempt(number, edits):
        path.write_bytes(damaged(SEEDS[form], number, edits))
        start = time.process_time()
        tracemalloc.start()
        try:
            files.contents(open_weights(path))
            message = None
        except UserError as error:
            message = str(error)
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert time.process_time() - start < MAX_SECONDS
        assert memory < MAX_BYTES
        assert message is None or (message.startswith(f"{path}: ") and "\n" not in message)
        assert message is None or len(message) < 1000
        outcomes["read" if message is None else "refused"] += 1

    attempt()
    print(form, outcomes)
    assert min(outcomes.values()) > 0


NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 12, -1, 13, 2**20, 2**40, 2**62, 10**30, True, None])
NUMBERS = st.integers(0, 4) | NUMBERS
SIZES = st.lists(NUMBERS, max_size=4).map(tuple)


@settings(max_examples=2 * EXAMPLES, derandomize=True, deadline=None, database=None)
@given(NUMBERS, SIZES, SIZES, st.sampled_from([files.torch_zip, files.torch_legacy]))
def test_any_description_of_a_tensor_is_what_numpy_makes_of_it_or_one_line(
    tmp_path_factory, offset, shape, strides, write
):
    path = tmp_path_factory.getbasetemp() / "described.pt"
    path.write_bytes(write({"a": rebuilt(A, "0", shape, strides, offset)}, {"0": A}))
    try:
        found = files.contents(open_weights(path))["a"]
    except UserError:
        return
    if found.size:
        steps = [s * 4 if n > 1 else 0 for s, n in zip(strides, shape, strict=True)]
        np.testing.assert_array_equal(
            found, np.ndarray(shape, np.float32, A.tobytes(), offset * 4, steps)
        )


@pytest.mark.parametrize("form", SEEDS)
def test_every_beginning_of_a_file_is_refused(tmp_path, form):
    for seed in SEEDS[form]:
        for size in range(0, len(seed), 1 + len(seed) // 100):
            (tmp_path / "x").write_bytes(seed[:size])
            with pytest.raises(UserError):
                files.contents(open_weights(tmp_path / "x"))
