"""CTranslate2's model.bin: variables one after another, then further names for some of them.

The format has no document of its own; it is what `python/ctranslate2/specs/model_spec.py` of
https://github.com/OpenNMT/CTranslate2 writes and `src/models/model.cc` reads.
"""

from functools import partial

import ml_dtypes
import numpy as np

from mmjax.interop.formats.reading import File, Stream, shown
from mmjax.interop.formats.tensors import Tensor, Weights

VERSIONS = range(2, 7)
KINDS = (np.float32, np.int8, np.int16, np.int32, np.float16, ml_dtypes.bfloat16)
BY_NUMBER = {number: np.dtype(kind) for number, kind in enumerate(KINDS)}
BY_WIDTH = {4: np.dtype(np.float32), 2: np.dtype(np.int16), 1: np.dtype(np.int8)}


def is_ctranslate2(file: File) -> bool:
    """Whether the file begins as one: a known version and the name of a class."""
    start = file.read(0, min(file.size, 64)).tobytes()
    version, length = int.from_bytes(start[:4], "little"), int.from_bytes(start[4:6], "little")
    name = start[6 : 6 + length]
    return version in VERSIONS and name[-1:] == b"\0" and name[:-1].isalnum()


def read(file: File) -> Weights:
    """The variables of a model, by names such as `encoder/layer_0/ffn/linear_0/weight`.

    They come as stored. Quantized ones are int8 [out in] with NAME_scale float32 [out], or int16
    with a scale of one number, and stand for `stored / scale`: a row at a time for int8. A
    convolution is quantized as [out, in * width]. Settings are variables too, of shape ().

    Raises:
        UserError: a version other than 2 to 6, an unknown type, a name twice, sizes that do not
            agree, or more or fewer bytes than there should be.
    """
    weights: dict[str, Tensor] = {}
    with file.stream() as stream:
        version = stream.number("I")
        if version not in VERSIONS:
            stream.fail(f"CTranslate2 version {version} is not one of 2 to 6")
        _name(stream)  # of the class
        stream.number("I")  # its revision
        for _ in range(stream.number("I")):
            name = _name(stream)
            _add(file, weights, name, _variable(file, stream, version, name))
        for _ in range(stream.number("I") if version >= 3 else 0):
            name, of = _name(stream), _name(stream)
            if of not in weights:
                stream.fail(f"{shown(name)} is another name for {shown(of)}, which is not there")
            _add(file, weights, name, weights[of])
        if stream.position != file.size:
            stream.fail("more follows after the last name")
    return weights


def _name(stream: Stream) -> str:
    text = stream.text(stream.number("H"))
    if not text.endswith("\0"):
        stream.fail("a name does not end")
    return text[:-1]


def _add(file: File, weights: dict[str, Tensor], name: str, tensor: Tensor) -> None:
    if name in weights:
        raise file.damaged(f"it has {shown(name)} twice")
    weights[name] = tensor


def _variable(file: File, stream: Stream, version: int, name: str) -> Tensor:
    shape = tuple(stream.number("I") for _ in range(stream.number("B")))
    kind = stream.number("B")
    # Before version 4 a type was known by its width.
    dtype = (BY_NUMBER if version >= 4 else BY_WIDTH).get(kind)
    if dtype is None:
        stream.fail(f"{shown(name)} has the unknown type {kind}")
    held = stream.number("I") * (1 if version >= 4 else dtype.itemsize)
    count = file.byte_count(name, shape, dtype)
    if held != count:
        stream.fail(f"{shown(name)} of {count} bytes has the place of {held}")
    return Tensor(shape, dtype, partial(file.array, stream.skip(count), shape, dtype), file.where)
