"""safetensors: a length, a JSON header and the bytes of the arrays.

Format: https://huggingface.co/docs/safetensors. Read and written here, since the library (0.8)
fails on float8 with NumPy, holds a second copy of all arrays when it writes, and cannot shard.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np

from mmjax.errors import UserError
from mmjax.interop.formats.reading import File, shown
from mmjax.interop.formats.tensors import Tensor, Weights

# In the order in which the library writes them, last first: the widest types come first.
DTYPES = {
    "BOOL": np.dtype(bool),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "I16": np.dtype(np.int16),
    "U16": np.dtype(np.uint16),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I32": np.dtype(np.int32),
    "U32": np.dtype(np.uint32),
    "F32": np.dtype(np.float32),
    "C64": np.dtype(np.complex64),
    "F64": np.dtype(np.float64),
    "I64": np.dtype(np.int64),
    "U64": np.dtype(np.uint64),
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
METADATA = "__metadata__"
PYTORCH = MappingProxyType({"format": "pt"})  # transformers refuses a file without it
MAX_HEADER_BYTES = 100_000_000  # the format's own limit


def is_safetensors(file: File) -> bool:
    """Whether the file begins as one: the length of a header that fits, and its brace."""
    if file.size < 9:
        return False
    start = file.read(0, 9).tobytes()
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= file.size - 8


def read(file: File) -> Weights:
    """The tensors of one file; its metadata is left out.

    Raises:
        UserError: anything in the header that the format forbids: see `_place`, and a name twice.
    """
    header_bytes = int.from_bytes(file.read(0, 8).tobytes(), "little") if file.size >= 8 else -1
    if not 2 <= header_bytes <= min(file.size - 8, MAX_HEADER_BYTES):
        raise file.damaged(f"its header should be {header_bytes} bytes long")
    header = parse_json(file, file.read(8, header_bytes).tobytes())
    header.pop(METADATA, None)
    start = 8 + header_bytes
    places = sorted((_place(file, name, entry), name) for name, entry in header.items())
    reached = 0
    for (begin, end), name in places:
        if begin != reached:
            raise file.damaged(f"the bytes of {shown(name)} begin at {begin}, not at {reached}")
        reached = end
    if start + reached != file.size:
        raise file.damaged(f"it should be {start + reached} bytes long and is {file.size}")
    return {name: _tensor(file, start, entry) for name, entry in header.items()}


def parse_json(file: File, data: bytes) -> dict[str, Any]:
    """A JSON object in which no name comes twice.

    Raises:
        UserError: anything else.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) < len(pairs):
            raise file.damaged("its header has a name twice")
        return names

    try:
        value = json.loads(data.decode(), object_pairs_hook=once)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        raise file.damaged("its header is not JSON") from None
    if not isinstance(value, dict):
        raise file.damaged("its header is not a JSON object")
    return value


def _place(file: File, name: str, entry: Any) -> tuple[int, int]:
    """The first byte of a tensor and the one after its last."""
    match entry:
        case {"dtype": str(code), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise file.damaged(f"{shown(name)} lacks its dtype, shape or data_offsets")
    if code not in DTYPES:
        raise UserError(
            f"{file.where}: {shown(name)} has the type {shown(code)}, which is not one of"
            f" {', '.join(DTYPES)}; convert it first"
        )
    count = file.byte_count(name, tuple(shape), DTYPES[code])
    if type(begin) is not int or type(end) is not int or not 0 <= begin <= end <= file.size:
        raise file.damaged(f"{shown(name)} lies outside of the file")
    if end - begin != count:
        raise file.damaged(f"{shown(name)} of {count} bytes has the place of {end - begin}")
    return begin, end


def _tensor(file: File, start: int, entry: Mapping[str, Any]) -> Tensor:
    shape, dtype = tuple(entry["shape"]), DTYPES[entry["dtype"]]
    read = partial(file.array, start + entry["data_offsets"][0], shape, dtype)
    return Tensor(shape, dtype, read, file.where)


def write(
    path: str | Path,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] = PYTORCH,
    shard_bytes: int | None = None,
) -> None:
    """Writes arrays so that other libraries read them; the bytes are those of the library.

    A file appears whole or not at all. What is more than `shard_bytes` goes to several files beside
    `path`, NAME-00001-of-00003.safetensors, with NAME.safetensors.index.json written last.

    Args:
        metadata: texts for the header.
        shard_bytes: the most bytes of arrays in one file; a larger array has a file of its own.
            None: all in one file.

    Raises:
        UserError: a type that the format does not have, a folder that cannot be written, or one
            that has the other kind of file (single or sharded), which readers would mix up.
    """
    path = Path(path)
    for name, array in arrays.items():
        if name == METADATA or _native(array.dtype) not in CODES:
            raise UserError(
                f"{path}: {shown(name)} of type {array.dtype} cannot be written; a safetensors"
                f" file holds {', '.join(str(dtype) for dtype in CODES)}"
            )
    names = sorted(arrays, key=lambda n: (-list(CODES).index(_native(arrays[n].dtype)), n))
    if not path.parent.is_dir():
        raise UserError(f"{path}: its folder does not exist; create it")
    shards = _split(names, arrays, shard_bytes)
    index = path.with_name(f"{path.name}.index.json")
    other = path if len(shards) > 1 else index
    if other.exists():
        raise UserError(f"{path}: {other.name} lies in this folder; remove it or use another")
    if len(shards) == 1:
        _replace(path, _file(names, arrays, metadata))
        return
    files = [
        path.with_name(f"{path.stem}-{i:05d}-of-{len(shards):05d}{path.suffix}")
        for i in range(1, len(shards) + 1)
    ]
    for file, shard in zip(files, shards, strict=True):
        _replace(file, _file(shard, arrays, metadata))
    total = sum(array.nbytes for array in arrays.values())
    weight_map = {
        name: file.name for file, shard in zip(files, shards, strict=True) for name in shard
    }
    text = json.dumps(
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))},
        indent=2,
        ensure_ascii=False,
    )
    _replace(index, [text.encode() + b"\n"])


def _native(dtype: np.dtype) -> np.dtype:
    return dtype.newbyteorder("=") if dtype.byteorder == ">" else dtype


def _split(
    names: Sequence[str], arrays: Mapping[str, np.ndarray], most: int | None
) -> list[list[str]]:
    """The names in order, in runs that hold at most `most` bytes each (or one array)."""
    shards: list[list[str]] = [[]]
    held = 0
    for name in names:
        if most is not None and shards[-1] and held + arrays[name].nbytes > most:
            shards.append([])
            held = 0
        shards[-1].append(name)
        held += arrays[name].nbytes
    return shards


def _file(
    names: Sequence[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> Iterable[bytes | memoryview]:
    """The bytes of one file, in pieces."""
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        begin, end = end, end + arrays[name].nbytes
        header[name] = {
            "dtype": CODES[_native(arrays[name].dtype)],
            "shape": list(arrays[name].shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        array = arrays[name]
        flat = np.ascontiguousarray(array, _native(array.dtype)).reshape(-1)
        yield memoryview(flat.view(np.uint8))


def _replace(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Writes beside the file, then renames: nobody ever sees half of it."""
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    try:
        with open(half, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); check the folder") from None
    finally:
        half.unlink(missing_ok=True)
