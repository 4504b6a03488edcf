"""safetensors against its own library, and files that break the format's rules."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from mmjax.errors import UserError
from mmjax.interop.formats.open_weights import open_weights
from mmjax.interop.formats.reading import File
from mmjax.interop.formats.safetensors import DTYPES, read, write
from tests.interop.formats import files

ALL = files.arrays_of(*DTYPES.values())


def test_a_file_of_the_library_reads_bit_for_bit_in_every_type(tmp_path):
    safetensors.numpy.save_file(ALL, tmp_path / "x.safetensors", {"format": "pt"})
    found = files.contents(read(File(tmp_path / "x.safetensors")))
    files.assert_same({name: found[name] for name in ALL}, ALL)
    assert len(found) == len(ALL)


def test_what_is_written_is_what_the_library_writes(tmp_path):
    write(tmp_path / "x.safetensors", ALL)
    assert (tmp_path / "x.safetensors").read_bytes() == safetensors.numpy.save(
        ALL, metadata={"format": "pt"}
    )
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_any_layout_in_memory_is_written_by_value(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays = {"columns": array.T, "steps": array[::2, ::-1], "big": array.astype(">f4")}
    write(tmp_path / "x.safetensors", arrays)
    found = files.contents(open_weights(tmp_path / "x.safetensors"))
    for name, expected in arrays.items():
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == np.float32


@pytest.mark.parametrize("most", [1, 40, 48, 10_000])
def test_shards_hold_at_most_their_bytes_and_read_as_one(tmp_path, most):
    arrays = files.arrays_of(np.float32, ml_dtypes.bfloat16)
    write(tmp_path / "model.safetensors", arrays, shard_bytes=most)
    found = files.contents(open_weights(tmp_path))
    files.assert_same({name: found[name] for name in arrays}, arrays)
    shards = sorted(tmp_path.glob("*.safetensors"))
    for shard in shards:
        held = [a.nbytes for a in safetensors.numpy.load_file(shard).values()]
        assert sum(held) <= most or len([size for size in held if size]) == 1
    if most == 10_000:
        assert [shard.name for shard in shards] == ["model.safetensors"]
    else:
        index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
        assert index["metadata"]["total_size"] == sum(a.nbytes for a in arrays.values())
        assert set(index["weight_map"].values()) == {shard.name for shard in shards}
        assert shards[0].name == f"model-00001-of-{len(shards):05d}.safetensors"


@pytest.mark.parametrize("fails", ["os.fsync", "os.replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, fails):
    write(tmp_path / "x.safetensors", {"a": np.ones(3)})
    before = (tmp_path / "x.safetensors").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fails, full)
    with pytest.raises(UserError, match="cannot be written \\(No space"):
        write(tmp_path / "x.safetensors", {"a": np.zeros(3)})
    assert (tmp_path / "x.safetensors").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.array(["text"])}, "'a' of type <U4"),
        ({"a": np.ones(2), "b": np.array([None])}, "'b' of type object"),
        ({"a": np.ones(2, np.complex128)}, "'a' of type complex128"),
        ({"__metadata__": np.ones(2)}, "'__metadata__'"),
    ],
)
def test_what_the_format_does_not_hold_is_not_written(tmp_path, arrays, message):
    with pytest.raises(UserError, match=message):
        write(tmp_path / "x.safetensors", arrays)
    assert list(tmp_path.iterdir()) == []


def test_single_and_sharded_files_are_not_mixed_in_a_folder(tmp_path):
    arrays = {"a": np.ones(3), "b": np.ones(3)}
    write(tmp_path / "model.safetensors", arrays, shard_bytes=30)
    with pytest.raises(UserError, match=r"model.safetensors.index.json lies in this folder"):
        write(tmp_path / "model.safetensors", arrays)
    with pytest.raises(UserError, match=r"its folder does not exist"):
        write(tmp_path / "none" / "model.safetensors", arrays)


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


TWICE = b'{"a":%(e)s,"a":%(e)s}' % {b"e": json.dumps(entry()).encode()}
BAD = {
    "header longer than the file": files.safetensors({"a": entry()}, b"1234", length=10_000),
    "enormous header": files.safetensors({"a": entry()}, b"1234", length=2**63),
    "header of nothing": files.safetensors(b"", b"1234"),
    "not JSON": files.safetensors(b'{"a": nonsense}'),
    "not UTF-8": files.safetensors(b'{"\xff": 1}'),
    "half a surrogate pair": files.safetensors(
        b'{"\\ud800":' + json.dumps(entry()).encode() + b"}", b"1234"
    ),
    "nested without end": files.safetensors(b'{"a":' * 100_000),
    "a long number": files.safetensors(b'{"a":' + b"9" * 10_000 + b"}"),
    "not an object": files.safetensors(b'["a"]  '),
    "a name twice": files.safetensors(TWICE, b"1234"),
    "no dtype": files.safetensors({"a": {"shape": [1], "data_offsets": [0, 4]}}, b"1234"),
    "three offsets": files.safetensors({"a": entry(offsets=(0, 4, 4))}, b"1234"),
    "unknown type": files.safetensors({"a": entry("F4", (8,))}, b"1234"),
    "negative size": files.safetensors({"a": entry(shape=(-1, -1))}, b"1234"),
    "a size that is no whole number": files.safetensors({"a": entry(shape=(1.0,))}, b"1234"),
    "true for a size": files.safetensors({"a": entry(shape=(True,))}, b"1234"),
    "enormous sizes": files.safetensors({"a": entry(shape=(2**40, 2**40))}, b"1234"),
    "an enormous empty shape": files.safetensors(
        {"a": entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}
    ),
    "too many axes": files.safetensors({"a": entry(shape=(1,) * 65)}, b"1234"),
    "past the end": files.safetensors({"a": entry(shape=(2,), offsets=(0, 8))}, b"1234"),
    "negative offsets": files.safetensors({"a": entry(offsets=(-4, 0))}, b"1234"),
    "offsets backwards": files.safetensors({"a": entry(offsets=(4, 0))}, b"1234"),
    "shape and offsets differ": files.safetensors({"a": entry(shape=(2,))}, b"1234"),
    "overlap": files.safetensors(
        {"a": entry(shape=(2,), offsets=(0, 8)), "b": entry(offsets=(4, 8))}, b"12345678"
    ),
    "a gap": files.safetensors({"a": entry(), "b": entry(offsets=(8, 12))}, bytes(12)),
    "bytes left over": files.safetensors({"a": entry()}, b"123456"),
    "cut short": files.safetensors({"a": entry(shape=(2,), offsets=(0, 8))}, b"1234567"),
    "cut in the header": files.safetensors({"a": entry()}, b"1234")[:20],
    "cut in the length": b"\x10\0\0",
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, case):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(BAD[case])
    with pytest.raises(UserError, match=r"bad\.safetensors: ") as caught:
        open_weights(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))


def test_the_library_refuses_them_too(tmp_path):
    ours_only = {"unknown type", "an enormous empty shape", "too many axes", "a name twice"}
    for case in BAD.keys() - ours_only:
        (tmp_path / "bad").write_bytes(BAD[case])
        with pytest.raises(safetensors.SafetensorError):
            safetensors.safe_open(tmp_path / "bad", "np")
