"""What a user has for a file: its path, its bytes, or an open file; all are read alike."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mmjax.errors import UserError

MAX_BYTES = 2**30  # of what is given as bytes or as an open file, or is read whole


@runtime_checkable
class Readable(Protocol):
    """A file opened for reading bytes, such as a member of a tar file or a remote file."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes from where it is."""
        ...


Content = str | os.PathLike | bytes | bytearray | memoryview | Readable
_BYTES = (bytes, bytearray, memoryview)


def is_content(value: Any) -> bool:
    """Whether a value is a path, bytes or an open file."""
    return isinstance(value, (str, os.PathLike, *_BYTES, Readable))


def path_of(value: Content) -> Path | None:
    """The path, a "~" in front being the home; None for bytes and open files."""
    return Path(os.path.expanduser(value)) if isinstance(value, (str, os.PathLike)) else None


def named(kind: str, value: Content) -> str:
    """What messages call it, such as "image cat.png", "image cat.png (an open file)" or "image of
    1024 bytes"."""
    if isinstance(value, (str, os.PathLike)):
        return f"{kind} {os.fspath(value)}"
    if isinstance(value, _BYTES):
        return f"{kind} of {memoryview(value).nbytes} bytes"
    name = getattr(value, "name", None)
    return f"{kind} {name} (an open file)" if isinstance(name, str) else f"{kind} in an open file"


def read_whole(value: Content, name: str) -> bytes:
    """All bytes; of an open file, those from where it is to its end.

    A file that can seek is left where it was, so that it can be read again; others are used up.

    Args:
        value: whatever its length, no more than MAX_BYTES of it are read.
        name: for messages.

    Raises:
        UserError: no file, none that can be read, an empty one, or one of over MAX_BYTES.
    """
    if isinstance(value, _BYTES):
        _check_size(memoryview(value).nbytes, name)
        return bytes(value)
    if path_of(value) is not None:
        with opened(value, name) as file, _told(name):
            # A read of MAX_BYTES would ask for as much memory first.
            _check_size(os.fstat(file.fileno()).st_size, name)
            return _all_of(file, name)
    with _told(name):
        seeks = getattr(value, "seekable", bool)()
        place = value.tell() if seeks else 0
        data = _all_of(value, name)
        if seeks:
            value.seek(place)
        return data


@contextmanager
def opened(value: Content, name: str) -> Iterator[Any]:
    """A file to seek in, at its beginning: that of a path itself, else one in memory.

    Raises:
        UserError: as read_whole.
    """
    path = path_of(value)
    if path is None:
        yield io.BytesIO(read_whole(value, name))
        return
    with _told(name):
        file = path.open("rb")
    with file:
        _check_some(os.fstat(file.fileno()).st_size, name)
        yield file


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{name}: no such file; correct the path") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: no readable file ({error}); correct the path") from error


def _all_of(file: Any, name: str) -> bytes:
    parts, size = [], 0
    while part := file.read(2**20):
        if not isinstance(part, bytes):
            raise UserError(f'{name}: gives {type(part).__name__}, not bytes; open it with "rb"')
        size += len(part)
        _check_size(size, name)
        parts.append(part)
    _check_size(size, name)
    return b"".join(parts)


def _check_size(size: int, name: str) -> None:
    """Raises a UserError for nothing, or for more than MAX_BYTES."""
    _check_some(size, name)
    if size > MAX_BYTES:
        raise UserError(f"{name}: has over {MAX_BYTES} bytes (MAX_BYTES); pass a smaller file")


def _check_some(size: int, name: str) -> None:
    if not size:
        raise UserError(f"{name}: empty, it has 0 bytes; pass an intact file")
