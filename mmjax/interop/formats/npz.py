"""NumPy's .npz: a zip archive of .npy files.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. The header of a
.npy is a Python dictionary; it is matched here and never evaluated.
"""

import re
from functools import partial

import ml_dtypes
import numpy as np

from mmjax.errors import UserError
from mmjax.interop.formats.reading import File, shown
from mmjax.interop.formats.tensors import Tensor, Weights
from mmjax.interop.formats.zip_file import Member

SUFFIX = ".npy"
MAX_HEADER_BYTES = 10_000  # NumPy's own limit
FIELDS = {
    "descr": re.compile(
        r"""['"]descr['"]\s*:\s*['"]([<>|=]?)([A-Za-z])(\d{0,9})(?:\[\w+\])?['"]"""
    ),
    "fortran_order": re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)"""),
    "shape": re.compile(r"""['"]shape['"]\s*:\s*\(([\dL,\s]*)\)"""),
}


def read(file: File, members: dict[str, Member]) -> Weights:
    """The arrays of numbers of an archive; texts and dates are left out.

    NumPy writes bfloat16 as two bytes without a meaning (`V2`); they are read as bfloat16, as
    big_vision does.

    Raises:
        UserError: a member that is not a .npy of its length, or one that holds Python objects,
            records or bytes without a meaning.
    """
    weights = {}
    for name, member in members.items():
        if name.endswith(SUFFIX):
            name = name[: -len(SUFFIX)]
            tensor = _tensor(file, name, member)
            if tensor is not None:
                weights[name] = tensor
    return weights


def _tensor(file: File, name: str, member: Member) -> Tensor | None:
    start, fields = _header(file, name, member)
    order, kind, width = fields["descr"]
    if kind in "USMm":
        return None
    dtype = _dtype(file, name, kind, width)
    transposed = fields["fortran_order"][0] == "True"
    sizes = fields["shape"][0].replace("L", "").replace(",", " ").split()
    if any(len(size) > 19 for size in sizes):
        raise file.damaged(f"{shown(name)} has an impossible shape")
    shape = tuple(int(size) for size in sizes)
    count = file.byte_count(name, shape, dtype)
    if member.size != start + count:
        raise file.damaged(f"{shown(name)} should have {count} bytes and has {member.size - start}")

    read = partial(_array, member, start, shape, dtype, order == ">", transposed)
    return Tensor(shape, dtype, read, file.where)


def _array(
    member: Member, start: int, shape: tuple[int, ...], dtype: np.dtype, big: bool, transposed: bool
) -> np.ndarray:
    flat = member.read(start).view(dtype)
    flat = flat.byteswap() if big else flat
    return flat.reshape(shape[::-1]).T if transposed else flat.reshape(shape)


def _dtype(file: File, name: str, kind: str, width: str) -> np.dtype:
    if kind == "V" and width == "2":
        return np.dtype(ml_dtypes.bfloat16)
    code = f"{kind}{width}"
    if kind not in "biufc" or code not in {d.str[1:] for d in map(np.dtype, "?bBhHiIlLefdFD")}:
        raise UserError(
            f"{file.where}: {shown(name)} has the type {code}, which is not one of numbers; save"
            " it as an array of a number type"
        )
    return np.dtype(code)


def _header(file: File, name: str, member: Member) -> tuple[int, dict[str, tuple[str, ...]]]:
    """Where the numbers begin, and the texts of the three fields."""
    start = member.head(12)
    if len(start) < 12 or start[:6] != b"\x93NUMPY" or start[6] not in (1, 2, 3):
        raise file.damaged(f"{shown(name)} is not a .npy file")
    before = 10 if start[6] == 1 else 12
    length = int.from_bytes(start[8:before], "little")
    if length > MAX_HEADER_BYTES or before + length > member.size:
        raise file.damaged(f"the header of {shown(name)} does not end")
    text = member.head(before + length)[before:].decode("latin-1")
    fields = {}
    for field, pattern in FIELDS.items():
        matches = pattern.findall(text)
        if len(matches) != 1:
            if field == "descr" and not matches and "descr" in text:
                raise UserError(
                    f"{file.where}: {shown(name)} holds records, not plain numbers; save each"
                    " field as its own array"
                )
            raise file.damaged(f"the header of {shown(name)} lacks {field}")
        fields[field] = matches[0] if isinstance(matches[0], tuple) else (matches[0],)
    return before + length, fields
