"""Which file of a folder is the model, and which format a file has."""

import json
import os
import tracemalloc

import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.interop.formats.open_weights import open_weights
from mmjax.interop.formats.safetensors import write
from tests.interop.formats import files

A = np.arange(6, dtype=np.float32).reshape(2, 3)
PT = files.torch_zip({"pt": files.rebuilt(A, "0")}, {"0": A})
LEGACY = files.torch_legacy({"legacy": files.rebuilt(A, "0")}, {"0": A})
NPZ = files.npz({"npz": A})
CT2 = files.ctranslate2({"ct2": A})


def tensors(*names):
    header = {
        name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [24 * i, 24 * i + 24]}
        for i, name in enumerate(names)
    }
    return files.safetensors(header, A.tobytes() * len(names))


def index(**weight_map):
    return json.dumps({"metadata": {}, "weight_map": weight_map}).encode()


def folder(tmp_path, contents):
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


FORMATS = {"pt": PT, "legacy": LEGACY, "npz": NPZ, "ct2": CT2, "st": tensors("st")}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["weights", "x.pt", "x.npz", "x.safetensors", "x.index.json"])
def test_the_contents_say_the_format_and_not_the_name(tmp_path, form, name):
    weights = open_weights(folder(tmp_path, {name: FORMATS[form]}) / name)
    files.assert_same(files.contents(weights), {form: A})
    assert weights[form].where == str(tmp_path / name)


SHARDED = {
    "model-00001-of-00002.safetensors": tensors("a"),
    "model-00002-of-00002.safetensors": tensors("b", "c"),
    "model.safetensors.index.json": index(
        a="model-00001-of-00002.safetensors",
        b="model-00002-of-00002.safetensors",
        c="model-00002-of-00002.safetensors",
    ),
}
PICKLED = {
    "pytorch_model-1.bin": PT,
    "pytorch_model-2.bin": LEGACY,
    "pytorch_model.bin.index.json": index(pt="pytorch_model-1.bin", legacy="pytorch_model-2.bin"),
}
FOLDERS = {
    "one file": ({"model.safetensors": tensors("a")}, ["a"]),
    "safetensors before pickles": (
        {"pytorch_model.bin": PT, "model.safetensors": tensors("a"), "x.npz": NPZ},
        ["a"],
    ),
    "any safetensors before pickles": (
        {"pytorch_model.bin": PT, "x.safetensors": tensors("a")},
        "a",
    ),
    "the same for two libraries": (
        {"model.safetensors": tensors("a"), "open_clip_model.safetensors": tensors("b")},
        ["a"],
    ),
    "open_clip": ({"open_clip_pytorch_model.bin": PT, "open_clip_config.json": b"{}"}, ["pt"]),
    "beside what a trainer leaves": (
        {"pytorch_model.bin": PT, "optimizer.pt": LEGACY, "training_args.bin": LEGACY},
        ["pt"],
    ),
    "a single checkpoint": ({"epoch_3.pt": LEGACY, "notes.txt": b"text"}, ["legacy"]),
    "npz": ({"ViT-B_16.npz": NPZ}, ["npz"]),
    "CTranslate2": ({"model.bin": CT2, "vocabulary.txt": b"a"}, ["ct2"]),
    "a pickle called model.bin": ({"model.bin": PT}, ["pt"]),
    "shards": (SHARDED, ["a", "b", "c"]),
    "sharded pickles": (PICKLED, ["pt", "legacy"]),
    "shards beside pickles": ({**PICKLED, **SHARDED}, ["a", "b", "c"]),
    "an index of one file": (
        {
            "model.safetensors": tensors("a"),
            "model.safetensors.index.json": index(a="model.safetensors"),
        },
        ["a"],
    ),
    "an index that forgot one": (
        {
            **SHARDED,
            "model.safetensors.index.json": index(
                a="model-00001-of-00002.safetensors", b="model-00002-of-00002.safetensors"
            ),
        },
        ["a", "b", "c"],
    ),
    "a tensor in two shards": (
        {**SHARDED, "model-00001-of-00002.safetensors": tensors("a", "b")},
        ["a", "b", "c"],
    ),
    "an index with a name of its own": (
        {"s1.safetensors": tensors("a"), "big.safetensors.index.json": index(a="s1.safetensors")},
        ["a"],
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_which_file_of_a_folder_is_the_model(tmp_path, case):
    contents, names = FOLDERS[case]
    found = files.contents(open_weights(folder(tmp_path, contents)))
    files.assert_same(found, dict.fromkeys(names, A))


BAD_FOLDERS = {
    "empty": ({}, "has no weights"),
    "other files": ({"config.json": b"{}"}, "has no weights"),
    "two of one kind": (
        {"a.safetensors": tensors("a"), "b.safetensors": tensors("b")},
        "a.safetensors or b.safetensors",
    ),
    "two pickles": ({"a.pt": PT, "b.npz": NPZ}, "a.pt or b.npz"),
    "shards without an index": (
        {name: SHARDED[name] for name in list(SHARDED)[:2]},
        "model-00001-of-00002.safetensors or model-00002-of-00002.safetensors",
    ),
    "a file and an index of others": (
        {**SHARDED, "model.safetensors": tensors("a")},
        "model.safetensors and model.safetensors.index.json",
    ),
    "a missing shard": (
        {name: SHARDED[name] for name in list(SHARDED)[1:]},
        "its shard 'model-00001-of-00002.safetensors' is missing",
    ),
    "a tensor missing from its shard": (
        {**SHARDED, "model-00002-of-00002.safetensors": tensors("b")},
        "'c' is missing from its shard 'model-00002-of-00002.safetensors'",
    ),
    "a damaged shard": (
        {**SHARDED, "model-00002-of-00002.safetensors": tensors("b", "c")[:-1]},
        "model-00002-of-00002.safetensors: ",
    ),
    "an empty shard": ({**SHARDED, "model-00002-of-00002.safetensors": b""}, "is empty"),
    "a tensor in two shards": (
        {
            **PICKLED,
            "pytorch_model-2.bin": PT,
            "pytorch_model.bin.index.json": index(x="pytorch_model-1.bin", y="pytorch_model-2.bin"),
        },
        "'pt' is in two of its shards",
    ),
    "a shard elsewhere": (
        {"model.safetensors.index.json": index(a="../secret.safetensors")},
        "no weight_map of tensors to files in its folder",
    ),
    "an index of itself": (
        {"model.safetensors.index.json": index(a="model.safetensors.index.json")},
        "no weight_map of tensors to files in its folder",
    ),
    "an index that is none": ({"model.safetensors.index.json": b"[]"}, "not a JSON object"),
    "an index without a map": ({"model.safetensors.index.json": b"{}"}, "no weight_map"),
    "an index of numbers": (
        {"model.safetensors.index.json": b'{"weight_map": {"a": 3}}'},
        "no weight_map",
    ),
    "an index of nothing": (
        {"model.safetensors.index.json": b'{"weight_map": {}}'},
        "has no arrays of numbers",
    ),
    "an index of a surrogate": (
        {"model.safetensors.index.json": b'{"weight_map": {"a": "\\udc80"}}'},
        "not JSON",
    ),
    "an index of a null": (
        {"model.safetensors.index.json": b'{"weight_map": {"a": "\\u0000"}}'},
        "is missing",
    ),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_an_unclear_or_broken_folder_is_one_line(tmp_path, case):
    contents, message = BAD_FOLDERS[case]
    with pytest.raises(UserError) as caught:
        open_weights(folder(tmp_path, contents))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


BAD_FILES = {
    "empty": (b"", "is empty"),
    "text": (b"hello", "not weights of a known format"),
    "git-lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        "run `git lfs pull`",
    ),
    "a web page": (b"<!DOCTYPE html><html>", "a web page"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "a pickle": (files.pickled({"a": 1}), "a Python pickle"),
    "one array": (b"\x93NUMPY\1\0" + bytes(100), "a single .npy array"),
    "a zip archive": (files.zipped({"a.txt": b"text"}), "a zip archive without weights"),
    "an empty zip archive": (b"PK\5\6" + bytes(18), "not weights of a known format"),
    "no tensors": (files.safetensors({}), "has no arrays of numbers"),
}


@pytest.mark.parametrize("case", BAD_FILES)
@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_another_kind_of_file_is_named(tmp_path, case, suffix):
    data, message = BAD_FILES[case]
    path = folder(tmp_path, {f"x.{suffix}": data}) / f"x.{suffix}"
    with pytest.raises(UserError) as caught:
        open_weights(path)
    if suffix == "bin" or "known format" not in message:
        assert message in str(caught.value)
    assert f"{path}: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paths_that_cannot_be_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (
        tmp_path / "none.pt",
        tmp_path / "none" / "x",
        "a\0b",
        "x" * 5000,
        tmp_path / "pipe",
    ):
        with pytest.raises(UserError) as caught:
            open_weights(path)
        assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_or_gone_later_is_said_on_reading(tmp_path):
    for name, data in FORMATS.items():
        path = folder(tmp_path, {name: data}) / name
        tensor = open_weights(path)[name]
        path.write_bytes(data[: data.index(A.tobytes()) + 3])
        with pytest.raises(UserError, match=f"{name}: became shorter"):
            tensor.read()
        path.unlink()
        with pytest.raises(UserError, match=f"{name}: cannot be read"):
            tensor.read()


@pytest.mark.parametrize("form", ["safetensors", "npz", "ct2"])
def test_opening_reads_headers_and_reading_one_tensor(tmp_path, form):
    arrays = {"big": np.zeros(1 << 21, np.float32), "small": A}
    if form == "safetensors":
        write(tmp_path / "x", arrays)
    else:
        data = files.npz(arrays) if form == "npz" else files.ctranslate2(arrays)
        (tmp_path / "x").write_bytes(data)
        del data
    tracemalloc.start()
    tensors = open_weights(tmp_path / "x")
    np.testing.assert_array_equal(tensors["small"].read(), A)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tensors["big"].read()
    assert 8 << 20 <= tracemalloc.get_traced_memory()[1] < 9 << 20
    tracemalloc.stop()
