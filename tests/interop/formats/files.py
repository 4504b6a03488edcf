"""Writers of small weight files, byte by byte and without the libraries that own the formats."""

import io
import json
import struct
import zipfile
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

BF16 = np.dtype(ml_dtypes.bfloat16)


class Name(NamedTuple):
    module: str
    name: str


class Call(NamedTuple):
    function: Any
    arguments: tuple


class New(NamedTuple):
    kind: Any
    state: Any  # None: no BUILD


class Outside(NamedTuple):
    """What a pickle keeps elsewhere, by its id."""

    id: Any


def pickled(value):
    """A whole pickle of protocol 2."""
    return b"\x80\x02" + instructions(value) + b"."


def instructions(value):
    match value:
        case Name():
            return b"c" + f"{value.module}\n{value.name}\n".encode()
        case Call():
            return instructions(value.function) + instructions(value.arguments) + b"R"
        case New(state=None):
            return instructions(value.kind) + b")\x81"
        case New():
            return instructions(value.kind) + b")\x81" + instructions(value.state) + b"b"
        case Outside():
            return instructions(value.id) + b"Q"
        case None | bool():
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8b" + struct.pack("<i", len(data)) + data
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case dict():
            pairs = b"".join(instructions(k) + instructions(v) for k, v in value.items())
            return b"}(" + pairs + b"u"
        case list():
            return b"](" + b"".join(map(instructions, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(instructions, value)) + b"t"
    raise TypeError(value)


STORAGES = {
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float16): "HalfStorage",
    BF16: "BFloat16Storage",
    np.dtype(np.int64): "LongStorage",
    np.dtype(np.int8): "CharStorage",
    np.dtype(bool): "BoolStorage",
}


def storage(array, key, *, view=()):
    kind = Name("torch", STORAGES[array.dtype])
    return Outside(("storage", kind, key, "cpu", array.size, *view))


def rebuilt(array, key, shape=None, strides=None, offset=0, *, view=()):
    """The call that makes a tensor of a storage."""
    shape = array.shape if shape is None else shape
    if strides is None:
        strides = tuple(step // array.itemsize for step in array.strides)
    arguments = (storage(array, key, view=view), offset, shape, strides, False)
    return Call(
        Name("torch._utils", "_rebuild_tensor_v2"),
        (*arguments, Call(Name("collections", "OrderedDict"), ())),
    )


def torch_zip(value, storages, *, root="archive", method=zipfile.ZIP_STORED, more=()):
    """What torch.save writes: `storages` are arrays by key, `value` the pickled object."""
    return zipped(
        {
            f"{root}/data.pkl": value if isinstance(value, bytes) else pickled(value),
            f"{root}/byteorder": b"little",
            **{f"{root}/data/{key}": array.tobytes() for key, array in storages.items()},
            f"{root}/version": b"3\n",
            **dict(more),
        },
        method,
    )


def zipped(members, method=zipfile.ZIP_STORED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def torch_legacy(value, storages, *, version=1001, little=True):
    """What torch.save wrote before 1.6."""
    return b"".join(
        [
            pickled(0x1950A86A20F9469CFC6C).replace(b"\x8b\n\0\0\0", b"\x8a\n"),
            pickled(version),
            pickled({"protocol_version": version, "little_endian": little}),
            value if isinstance(value, bytes) else pickled(value),
            pickled(list(storages)),
            *(struct.pack("<q", a.size) + a.tobytes() for a in storages.values()),
        ]
    )


def safetensors(header, data=b"", *, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


CTRANSLATE2 = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}


def ctranslate2(arrays, aliases=(), *, version=6):
    """model.bin: `aliases` are pairs (another name, name)."""

    def text(value):
        return struct.pack("<H", len(value.encode()) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", version), text("WhisperSpec"), struct.pack("<II", 3, len(arrays))]
    for name, array in arrays.items():
        parts += [text(name), struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)]
        if version >= 4:
            parts.append(struct.pack("<BI", CTRANSLATE2[array.dtype.name], array.nbytes))
        else:
            parts.append(struct.pack("<BI", array.itemsize, array.size))
        parts.append(array.tobytes())
    if version >= 3:
        parts.append(struct.pack("<I", len(aliases)))
        parts += [text(part) for pair in aliases for part in pair]
    return b"".join(parts)


def npz(arrays, *, save=np.savez):
    data = io.BytesIO()
    save(data, **arrays)
    return data.getvalue()


def contents(weights):
    """All arrays, read, with what the file said of them before."""
    arrays = {name: tensor.read() for name, tensor in weights.items()}
    for name, tensor in weights.items():
        assert arrays[name].shape == tensor.shape
        assert arrays[name].dtype == tensor.dtype
    return arrays


def assert_same(found, expected):
    """The same names, types, shapes and bits; zeros of either sign and NaNs too."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        array = np.asarray(array)
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


def arrays_of(*dtypes, seed=0):
    """Arrays of these types in several shapes: matrices, a vector, one number and none."""
    rng = np.random.default_rng(seed)
    shapes = [(3, 4), (2, 1, 3), (5,), (), (0, 2)]
    return {
        f"block.{i}.{np.dtype(dtype).name}": np.asarray(rng.normal(size=shape) * 5).astype(dtype)
        for i, shape in enumerate(shapes)
        for dtype in dtypes
    }
