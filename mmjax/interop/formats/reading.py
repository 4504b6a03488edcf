"""Bytes of a weight file, where no read goes past its end and every failure names the file."""

import io
import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mmjax.errors import UserError

MAX_AXES = 32


def shown(name: str) -> str:
    """A name from a file, for messages: quoted, on one line, not longer than 120 letters."""
    text = ascii(name)
    return text if len(text) <= 120 else f"{text[:80]}…{text[-30:]}"


class File:
    """A file that is there and can be read; `size` in bytes.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.where = str(path) if str(path).isprintable() else ascii(str(path))
        try:
            status = os.stat(self.path)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{self.where}: not a file of weights; name a file or its folder")
            with open(self.path, "rb"):
                self.size = status.st_size
        except (OSError, ValueError) as error:
            raise self.unreadable(error) from None

    def unreadable(self, error: Exception) -> UserError:
        reason = getattr(error, "strerror", None) or str(error)
        return UserError(f"{self.where}: cannot be read ({reason}); check the path")

    def damaged(self, what: str) -> UserError:
        return UserError(f"{self.where}: {what}; the file is damaged, fetch or save it again")

    def read(self, start: int, count: int) -> np.ndarray:
        """`count` bytes from byte `start` on: uint8 [count], which owns its memory.

        Raises:
            UserError: the file ends before.
        """
        if not 0 <= start <= start + count <= self.size:
            raise self.damaged(f"ends at byte {self.size}, before byte {start + count}")
        out = np.empty(count, np.uint8)
        rest = memoryview(out)
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(start)
                while rest and (got := file.readinto(rest)):
                    rest = rest[got:]
        except OSError as error:
            raise self.unreadable(error) from None
        if rest:
            raise self.damaged("became shorter since it was opened")
        return out

    def array(self, start: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """The array whose numbers lie from byte `start` on; raises as `read`."""
        return self.read(start, math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)

    def byte_count(self, name: str, shape: tuple[Any, ...], dtype: np.dtype) -> int:
        """Bytes of an array of this shape; nothing is allocated.

        Raises:
            UserError: a shape that no array has.
        """
        whole = all(type(size) is int and size >= 0 for size in shape)
        # NumPy multiplies the sizes of empty arrays too.
        if len(shape) > MAX_AXES or not whole or math.prod(max(1, s) for s in shape) >= 2**55:
            raise self.damaged(f"{shown(name)} has an impossible shape")
        return math.prod(shape) * dtype.itemsize

    @contextmanager
    def stream(self) -> Iterator["Stream"]:
        """The file from its beginning."""
        try:
            file = open(self.path, "rb")  # noqa: SIM115 (closed below, outside of this try)
        except OSError as error:
            raise self.unreadable(error) from None
        with file:
            yield Stream(self, file, self.size)


class Stream:
    """Numbers and texts one after another; little-endian.

    Each method raises a UserError that names `file` if the bytes end before.
    """

    def __init__(self, file: File, source: io.BufferedIOBase, size: int) -> None:
        self.file, self.position, self.size = file, 0, size
        self._source = source

    def fail(self, what: str) -> NoReturn:
        raise self.file.damaged(f"{what} (before byte {self.position} of {self.size})")

    def skip(self, count: int) -> int:
        """Goes past `count` bytes; returns where they began."""
        start = self.position
        if not 0 <= count <= self.size - start:
            self.fail(f"{count} bytes should follow, {self.size - start} do")
        self._source.seek(count, os.SEEK_CUR)
        self.position += count
        return start

    def take(self, count: int) -> bytes:
        # Asked first, since reading would allocate all of a count that cannot be right.
        if not 0 <= count <= self.size - self.position:
            self.fail(f"{count} bytes should follow, {self.size - self.position} do")
        try:
            data = self._source.read(count)
        except OSError as error:
            raise self.file.unreadable(error) from None
        if len(data) < count:
            self.fail("became shorter since it was opened")
        self.position += count
        return data

    def number(self, code: str) -> Any:
        """One number by its `struct` code, such as "I" for 32 bits."""
        code = code if code[0] == ">" else f"<{code}"
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def text(self, count: int) -> str:
        """`count` bytes of UTF-8."""
        try:
            return self.take(count).decode()
        except UnicodeDecodeError:
            self.fail("a name is not UTF-8 text")

    def line(self) -> str:
        """UTF-8 up to the next newline, at most 1000 bytes."""
        data = self._source.readline(1000)
        self.position += len(data)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.fail("a name is not UTF-8 text")
        if not text.endswith("\n"):
            self.fail("a name does not end")
        return text[:-1]
