"""Files here or far away: found by name or pattern, and read by ranges of bytes.

A file is opened anew for each read (10 µs here), so that any thread and any worker process may read
it. Where one read begins at the end of the last or shortly behind it, some more is read at once.
What is far away is read through fsspec in blocks, of which a few are kept.
"""

import collections
import glob
import io
import itertools
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmjax.errors import UserError, decoding, nearest

BLOCK = 2**20  # bytes of a remote read
KEPT_BLOCKS = 8  # of a remote file
AHEAD = 2**16  # bytes that are read at once when reads follow each other
_REMOTE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SAID = 20  # names of a folder in a message


def is_remote(path: str) -> bool:
    """Whether a path is a URL such as gs://bucket/rows.csv."""
    return _REMOTE.match(path) is not None


def folder_of(path: str) -> str:
    """The folder of a path or URL; "" for the working directory."""
    return path.rpartition("/")[0] if is_remote(path) else os.path.dirname(path)


def name_of(path: str) -> str:
    """The last part of a path or URL."""
    return path.rstrip("/").rpartition("/")[2] if is_remote(path) else Path(path).name


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec filesystem of a URL, and the path there.

    Raises:
        UserError: fsspec, or what it needs for this protocol, is not installed.
    """
    try:
        import fsspec

        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"{url}: cannot be opened ({said}); run: pip install 'mmjax[data]', and what fsspec"
            " needs for this protocol"
        ) from error


class File:
    """A file and the size and time that it had when it was found.

    Attributes:
        path: as given, with what a pattern stood for.
        size: in bytes.
        stamp: time of the last change or whatever else tells two states apart; "" if unknown.

    Raises:
        UserError: it is not there or cannot be read; when reading: it has changed since.
    """

    def __init__(self, path: str):
        self.path = path
        self._blocks: collections.OrderedDict[int, bytes] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._ahead, self._last = (0, b""), -1  # bytes and where they begin; the end of a read
        if is_remote(path):
            system, inner = filesystem(path)
            with decoding(f"{path} cannot be read", "check the address"):
                known = system.info(inner)
            if known.get("size") is None:
                raise UserError(f"{path}: its server does not say its size: download it first")
            keys = ("ETag", "etag", "mtime", "LastModified", "updated", "created")
            self.size = int(known["size"])
            self.stamp = next((str(known[key]) for key in keys if known.get(key)), "")
            return
        try:
            found = os.stat(path)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}; check the path") from error
        self.size, self.stamp = found.st_size, str(found.st_mtime_ns)

    @property
    def name(self) -> str:
        """The last part of the path, for messages."""
        return name_of(self.path)

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to before `stop`, or the end of the file."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if is_remote(self.path):
            return self._read_remote(start, stop)
        first, data = self._ahead
        follows, self._last = 0 <= start - self._last < AHEAD // 4, stop
        if not first <= start <= stop <= first + len(data):
            if not follows or stop - start >= AHEAD:
                return self._read_here(start, stop)
            first, data = start, self._read_here(start, min(start + AHEAD, self.size))
        # Nothing is kept of a file that was read to its end: there may be thousands.
        self._ahead = (0, b"") if stop == self.size else (first, data)
        return data[start - first : stop - first]

    def _read_here(self, start: int, stop: int) -> bytes:
        parts = []
        try:
            # Without a file object, which would cost as much as the rest.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                found = os.fstat(descriptor)
                if (found.st_size, str(found.st_mtime_ns)) != (self.size, self.stamp):
                    raise UserError(f"{self.path} has changed since it was opened: start again")
                while start < stop:
                    parts.append(os.pread(descriptor, stop - start, start))
                    if not parts[-1]:
                        raise UserError(f"{self.path} ends at byte {start}: restore it")
                    start += len(parts[-1])
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_remote(self, start: int, stop: int) -> bytes:
        first, last = start // BLOCK, (stop - 1) // BLOCK
        if last - first >= KEPT_BLOCKS:
            return self._fetch(start, stop)
        data = b"".join(self._block(number) for number in range(first, last + 1))
        return data[start - first * BLOCK : stop - first * BLOCK]

    def _block(self, number: int) -> bytes:
        with self._lock:
            if number in self._blocks:
                self._blocks.move_to_end(number)
                return self._blocks[number]
        data = self._fetch(number * BLOCK, min((number + 1) * BLOCK, self.size))
        with self._lock:
            self._blocks[number] = data
            while len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return data

    def _fetch(self, start: int, stop: int) -> bytes:
        system, inner = filesystem(self.path)
        with decoding(f"{self.path} cannot be read", "check the connection"):
            data = system.cat_file(inner, start=start, end=stop)
        if len(data) != stop - start:
            raise UserError(
                f"{self.path}: asked for {stop - start} bytes, got {len(data)}: its server gives no"
                " ranges, or it has changed; download it"
            )
        return data

    def blocks(self, size: int) -> Iterator[bytes]:
        """All of the file, `size` bytes at a time."""
        for start in range(0, self.size, size):
            yield self.read(start, start + size)

    def open(self) -> io.BufferedReader:
        """The file as other libraries read one."""
        return io.BufferedReader(_Raw(self), BLOCK if is_remote(self.path) else 2**16)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size, "stamp": self.stamp}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _blocks=collections.OrderedDict(), _lock=threading.Lock())
        self._ahead, self._last = (0, b""), -1


class _Raw(io.RawIOBase):
    def __init__(self, file: File):
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        data = self._file.read(self._at, self._at + len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def expand(given: str | Path | Iterable[str | Path]) -> list[str]:
    """Paths of files and folders: in the order given, those of a pattern sorted.

    Args:
        given: a path, URL or pattern, or several: * ? [...] and **, and {000..127} for the numbers
            of shards. ~ is the home of the user.

    Raises:
        UserError: there is no such file, or a pattern stands for none.
    """
    items = [given] if isinstance(given, (str, Path)) else list(given)
    if not items:
        raise UserError("no files are given: give a path, or several")
    return list(itertools.chain.from_iterable(_expand(str(item)) for item in items))


def _expand(item: str) -> list[str]:
    braces = _BRACES.search(item)
    if braces:
        first, last = braces.groups()
        numbers = (f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1))
        parts = [item[: braces.start()] + number + item[braces.end() :] for number in numbers]
        return [path for part in parts for path in _expand(part)]
    is_pattern = glob.has_magic(item)
    if is_remote(item):
        if not is_pattern:
            return [item]
        system, inner = filesystem(item)
        with decoding(f"{item} cannot be listed", "give the addresses of the files"):
            found = sorted(system.unstrip_protocol(path) for path in system.glob(inner))
    else:
        path = os.path.expanduser(item)
        if os.path.exists(path):
            return [path]
        found = sorted(glob.glob(path, recursive=True)) if is_pattern else []
    if not found:
        raise UserError(f"{item}: {_missing(item)}")
    return found


def _missing(item: str) -> str:
    if glob.has_magic(item):
        return "no file matches this pattern"
    path = Path(os.path.expanduser(item))
    if not path.parent.is_dir():
        return f"no such file, and no folder {path.parent}"
    names = sorted(entry.name for entry in itertools.islice(os.scandir(path.parent), 1000))
    if len(names) > _SAID:
        names = [name for name in names if name[:1] == path.name[:1]][:_SAID] or names[:_SAID]
    return f"no such file in {path.parent.absolute()}; {nearest(path.name, names)}"
