"""PyTorch checkpoints: zip archives, TorchScript archives, and the streams from before 1.6.

Formats: `torch/serialization.py` of PyTorch. No PyTorch here, and nothing in a file is run: see
`pickle_machine` and `torch_objects`.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from mmjax.errors import UserError
from mmjax.interop.formats import pickle_machine
from mmjax.interop.formats.pickle_machine import Global
from mmjax.interop.formats.pickled_numpy import NumpyArray
from mmjax.interop.formats.reading import File, Stream, shown
from mmjax.interop.formats.tensors import Tensor, Weights
from mmjax.interop.formats.torch_objects import Record, Storage, Stored, meaning
from mmjax.interop.formats.zip_file import Member

LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_VERSION = 1001
PICKLE = "/data.pkl"
MAX_DEPTH = 64
MAX_LETTERS = 1000
MAX_ENTRIES = 5_000_000
# An expanded tensor is stored once and is larger than its storage.
MAX_EXPANDED_BYTES = 1 << 24

Bytes = Callable[[int, int], np.ndarray]  # (first byte, count) of a storage -> uint8 [count]


def read_zip(file: File, members: dict[str, Member]) -> Weights:
    """The tensors of an archive of `torch.save` or `torch.jit.save`.

    Nested dictionaries, lists and TorchScript modules give names joined by dots:
    `{"model": {"w": …}, "steps": 3}` gives `model.w`; what is not an array is left out. A module of
    TorchScript gives also those attributes that are tensors and not parameters.

    Raises:
        UserError: a damaged file, or one that holds more than data: its message names what the file
            wants to run.
    """
    pickles = [name for name in members if name.endswith(PICKLE) and name.count("/") == 1]
    if len(pickles) != 1:
        raise file.damaged(f"an archive with {len(pickles)} data.pkl where PyTorch writes one")
    root = pickles[0][: -len(PICKLE)]
    if f"{root}/byteorder" in members:
        _check_order(file, members[f"{root}/byteorder"].read().tobytes() == b"little")
    data = members[pickles[0]].read().tobytes()
    storages: dict[str, Storage] = {}
    stream = Stream(file, io.BytesIO(data), len(data))
    value = pickle_machine.load(stream, meaning(file, storages))
    readers = {}
    for key, storage in storages.items():
        member = members.get(f"{root}/data/{key}")
        if member is None:
            raise file.damaged(f"its storage {shown(key)} is missing")
        if member.size != storage.whole_bytes:
            raise file.damaged(f"its storage {shown(key)} has another size")
        readers[key] = member.read
    return _weights(file, value, readers)


def read_legacy(file: File) -> Weights:
    """The tensors of a stream of PyTorch before 1.6; as `read_zip`. It has no checksums."""
    storages: dict[str, Storage] = {}
    readers: dict[str, Bytes] = {}
    with file.stream() as stream:
        stream.skip(len(LEGACY_START))
        means = meaning(file, storages)
        version, system, value, keys = (pickle_machine.load(stream, means) for _ in range(4))
        if version != LEGACY_VERSION:
            raise file.damaged("its PyTorch stream has an unknown version")
        _check_order(file, isinstance(system, dict) and system.get("little_endian") is True)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise file.damaged("its list of storages is none")
        for key in keys:
            if key in readers or key not in storages:
                raise file.damaged(f"its storage {shown(key)} comes twice or belongs to nothing")
            count = stream.number("q")
            if count * storages[key].dtype.itemsize != storages[key].whole_bytes:
                raise file.damaged(f"its storage {shown(key)} has another size")
            readers[key] = partial(_shifted, file, stream.skip(storages[key].whole_bytes))
    for key in storages:
        if key not in readers:
            raise file.damaged(f"its storage {shown(key)} is missing")
    return _weights(file, value, readers)


def _shifted(file: File, first: int, start: int, count: int) -> np.ndarray:
    return file.read(first + start, count)


def _check_order(file: File, little: bool) -> None:
    if not little:
        raise UserError(
            f"{file.where}: written by a big-endian machine; save it again on another one"
        )


def _weights(file: File, value: Any, readers: Mapping[str, Bytes]) -> Weights:
    weights: dict[str, Tensor] = {}
    for name, entry in _entries(file, value):
        if name in weights:
            raise file.damaged(f"it has {shown(name)} twice")
        if isinstance(entry, Stored):
            weights[name] = _tensor(file, name, entry, readers[entry.storage.key])
        else:
            weights[name] = Tensor(entry.shape, entry.dtype, entry.copy, file.where)
    return weights


def _entries(file: File, value: Any) -> Iterator[tuple[str, Stored | np.ndarray]]:
    """The arrays inside of nested containers, in their order, with names joined by dots."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), value)]
    left = min(MAX_ENTRIES, 1000 + 8 * file.size)
    while waiting:
        path, entry = waiting.pop()
        if isinstance(entry, NumpyArray):
            entry = entry.value
        if isinstance(entry, Record):
            entry = entry.state
        if isinstance(entry, Stored | np.ndarray):
            yield ".".join(path), entry
        elif isinstance(entry, dict | list | tuple):
            left -= len(entry)
            # A container may hold itself, or be held a thousand times by one that is.
            if left < 0 or len(path) == MAX_DEPTH or sum(map(len, path)) > MAX_LETTERS:
                raise UserError(
                    f"{file.where}: has too many entries, levels or letters in a name, or holds"
                    " itself; save only the weights: torch.save(model.state_dict(), …)"
                )
            pairs = entry.items() if isinstance(entry, dict) else enumerate(entry)
            inner = [((*path, _part(key)), child) for key, child in pairs if _may_hold(child)]
            waiting.extend(reversed(inner))


def _may_hold(entry: Any) -> bool:
    kinds = Stored | NumpyArray | Record | dict | list | tuple
    return isinstance(entry, kinds) and not isinstance(entry, Storage | Global)


def _part(key: Any) -> str:
    if isinstance(key, int) and abs(key) < 2**63:
        return str(int(key))
    return key if isinstance(key, str) else "?"


def _tensor(file: File, name: str, stored: Stored, data: Bytes) -> Tensor:
    """Checks that a tensor lies inside its storage; reads nothing."""
    storage, dtype, offset, shape, strides = stored
    count = file.byte_count(name, shape, dtype)
    if count > max(file.size, MAX_EXPANDED_BYTES):
        raise file.damaged(f"{shown(name)} is larger than the file")
    if len(strides) != len(shape) or not all(type(s) is int and s >= 0 for s in strides):
        raise file.damaged(f"{shown(name)} has impossible strides")
    # A stride that is never used may be anything.
    used = [size > 1 and count > 0 for size in shape]
    steps = [step if use else 0 for use, step in zip(used, strides, strict=True)]
    width = dtype.itemsize
    reach = (
        0 if count == 0 else 1 + sum((s - 1) * step for s, step in zip(shape, steps, strict=True))
    )
    if not 0 <= offset * width <= (offset + reach) * width <= storage.byte_count:
        raise file.damaged(f"{shown(name)} lies outside of its storage")

    read = partial(data, storage.start + offset * width, reach * width)
    return Tensor(shape, dtype, partial(_spread, read, dtype, shape, tuple(steps)), file.where)


def _spread(
    read: Callable[[], np.ndarray],
    dtype: np.dtype,
    shape: tuple[int, ...],
    steps: tuple[int, ...],
) -> np.ndarray:
    """The elements at these steps of the bytes read; a copy, unless they lie there in order."""
    data = read()
    # Not NumPy's as_strided, which does not know float8.
    view = np.ndarray(shape, dtype, data, strides=[step * dtype.itemsize for step in steps])
    in_order = view.flags.c_contiguous
    return data.view(dtype).reshape(shape) if in_order else np.array(view, order="C")
