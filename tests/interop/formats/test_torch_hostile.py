"""PyTorch files that want to run something or to take all memory: refused, and nothing happens."""

import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.interop.formats.open_weights import open_weights
from tests.interop.formats import files
from tests.interop.formats.files import Call, Name, New, pickled, rebuilt

A = np.arange(12, dtype=np.float32).reshape(3, 4)


def opened(tmp_path, data):
    (tmp_path / "x.pt").write_bytes(data)
    return open_weights(tmp_path / "x.pt")


@pytest.fixture(params=[files.torch_zip, files.torch_legacy])
def write(request):
    return request.param


def names(*parts):
    return [Name(*part.rsplit(".", 1)) for part in parts]


def runs(marker):
    """Pickles that would make the file `marker` if anybody ran them, and what they ask for."""
    system, evaluate, getattr_, popen, run_path, load, partial = names(
        "os.system",
        "builtins.eval",
        "builtins.getattr",
        "subprocess.Popen",
        "runpy.run_path",
        "torch.load",
        "functools.partial",
    )
    touch = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w')"
    stack_global = b"\x8c\x05posix\x8c\x06system\x93"
    command = files.instructions((touch,))
    return {
        "os.system": pickled(Call(system, (touch,))),
        "posix.system": b"\x80\x04" + stack_global + command + b"R.",
        "builtins.eval": pickled({"a": rebuilt(A, "0"), "b": Call(evaluate, (python,))}),
        "__builtin__.eval": pickled(Call(Name("__builtin__", "eval"), (python,))),
        "subprocess.Popen": pickled(New(popen, None)),
        "builtins.getattr": pickled(Call(Call(getattr_, (Name("os", "path"), "os")), (touch,))),
        "runpy.run_path": pickled(Call(run_path, (str(marker),))),
        "torch.load": pickled(Call(load, (str(marker),))),
        "functools.partial": pickled(New(partial, {"func": system, "args": (touch,)})),
        "torch.nn.modules.linear.Linear": pickled(
            New(Name("torch.nn.modules.linear", "Linear"), {"__setstate__": system})
        ),
        "torch._utils._rebuild_tensor_v2.__globals__": pickled(
            Call(Name("torch._utils", "_rebuild_tensor_v2.__globals__"), ())
        ),
        "set the state": pickled(rebuilt(A, "0"))[:-1]
        + pickled({"__class__": system})[2:-1]
        + b"b.",
        "_rebuild_from_type_v2 with the wrong": pickled(
            Call(Name("torch._tensor", "_rebuild_from_type_v2"), (system, system, (touch,), {}))
        ),
        "instruction b'i'": b"\x80\x02(" + files.instructions(touch) + b"ios\nsystem\n.",
        "instruction b'o'": b"\x80\x02(" + files.instructions(system) + command + b"o.",
        "instruction b'\\x92'": b"\x80\x04" + stack_global + command + b"}\x92.",
        "instruction b'\\x82'": b"\x80\x02\x82\x01.",
        "wrong call": pickled(Call(Call(Name("collections", "OrderedDict"), ()), (touch,))),
        "wrong key": pickled({((system,),): 1}),
    }


@pytest.mark.parametrize("wanted", runs("x"))
def test_a_pickle_that_wants_to_run_something_is_refused_and_runs_nothing(tmp_path, write, wanted):
    marker = tmp_path / "ran"
    with pytest.raises(UserError) as caught:
        opened(tmp_path, write(runs(marker)[wanted], {"0": A}))
    assert wanted in str(caught.value)
    assert "x.pt: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def doubling(start, step, end, times=60):
    return b"\x80\x02" + start + step * times + end + b"."


BOMBS = {
    # Each level holds the level below twice: 2**60 leaves, of a few hundred bytes.
    "entries": doubling(b"]q\0", b"0](h\0h\0eq\0", b""),
    "hash": doubling(b")q\0", b"0h\0h\0\x86q\0", b"0}h\0Ns"),
    "holds itself": b"\x80\x02]q\0h\0a.",
    "deep": b"\x80\x02" + b"](" * 2_000 + b"e" * 2_000 + b".",
    "tuples": b"\x80\x02)" + b"\x85" * 2_000 + b".",
    "memory": b"\x80\x02Nr\xff\xff\xff\xff.",
    "text": b"\x80\x02X\xff\xff\xff\xff.",
    "bytes": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0f.",
    "a negative text": b"\x80\x02T\xff\xff\xff\xff.",
    "long": b"\x80\x02}\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b"Ns.",
    "long name": b"\x80\x02"
    + (b"}X" + struct.pack("<I", 30_000) + b"a" * 30_000) * 5
    + b"N"
    + b"s" * 5
    + b".",
    "no stack": b"\x80\x02R.",
    "no mark": b"\x80\x02t.",
    "no memory": b"\x80\x02h\5.",
    "two left": b"\x80\x02NN.",
    "odd": b"\x80\x02}(Nu.",
    "no end": b"\x80\x02" + b"N" * 100,
    "new version": b"\x80\x09N.",
    "no name": b"\x80\x02c" + b"x" * 5000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_takes_little_time_and_memory_whatever_it_says(tmp_path, write, bomb):
    data = write(BOMBS[bomb], {})
    start = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"x\.pt: "):
            opened(tmp_path, data)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000 + 400 * len(data)
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 10


def test_copying_one_list_over_and_over_is_stopped(tmp_path):
    pairs = [(f"k{i}", None) for i in range(3000)]
    copy = b"0ccollections\nOrderedDict\n(h\1tR"
    data = b"\x80\x02" + files.instructions(pairs) + b"q\1" + copy * 3000 + b"."
    with pytest.raises(UserError, match="steps"):
        opened(tmp_path, files.torch_zip(data, {}))


def test_what_unpacks_to_more_than_it_says_is_not_unpacked(tmp_path):
    bomb = np.zeros(1 << 24, np.float32)
    data = files.torch_zip({"a": rebuilt(A, "0")}, {"0": bomb}, method=zipfile.ZIP_DEFLATED)
    data = data.replace(struct.pack("<I", bomb.nbytes), struct.pack("<I", A.nbytes))
    del bomb
    (tmp_path / "x.pt").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"'archive/data/0' unpacks to 49 bytes, not to 48"):
        open_weights(tmp_path / "x.pt")["a"].read()
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
