"""The members of a zip archive, each read alone and compared with its checksum.

PyTorch and NumPy keep arrays in zip archives. Python's `zipfile` reads the directory; the members
are read here, since it would go through all of a member to reach one tensor of it.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

from mmjax.errors import UserError
from mmjax.interop.formats.reading import File, shown

LOCAL_HEADER = 30  # bytes before the name
BLOCK = 1 << 20


class Member:
    """A file in an archive; `size` in bytes when unpacked."""

    def __init__(self, file: File, info: zipfile.ZipInfo, *, summed: bool) -> None:
        self.file, self.name, self.size = file, info.filename, info.file_size
        self._info = info
        self._checked = not summed

    def read(self, start: int = 0, count: int | None = None) -> np.ndarray:
        """Bytes of the member: uint8 [count], from `start` on; None: all.

        Raises:
            UserError: the checksum of the member is another, or it ends before.
        """
        count = self.size - start if count is None else count
        if not 0 <= start <= start + count <= self.size:
            raise self._damaged("is too short")
        if self._info.compress_type == zipfile.ZIP_DEFLATED:
            return self._unpack()[start : start + count]
        if count < self.size and not self._checked:
            blocks = (self._stored(at, BLOCK) for at in range(0, self.size, BLOCK))
            self._check(blocks)
        data = self._stored(start, count)
        if not self._checked:
            self._check([data])
        return data

    def head(self, count: int) -> bytes:
        """At most `count` bytes of its beginning, not compared with the checksum."""
        if self._info.compress_type == zipfile.ZIP_DEFLATED:
            return self._inflate(min(count, self.size), count + BLOCK).tobytes()
        return self._stored(0, count).tobytes()

    def _damaged(self, what: str) -> UserError:
        return self.file.damaged(f"its member {shown(self.name)} {what}")

    def _check(self, blocks: Iterable[np.ndarray]) -> None:
        total = 0
        for block in blocks:
            total = zlib.crc32(block, total)
        if total != self._info.CRC:
            raise self._damaged("does not match its checksum")
        self._checked = True

    def _start(self) -> int:
        """The first byte of the packed content in the file."""
        at = self._info.header_offset
        header = self.file.read(at, LOCAL_HEADER).tobytes()
        if header[:4] != b"PK\x03\x04":
            raise self._damaged("is not where the directory says")
        return at + LOCAL_HEADER + sum(struct.unpack("<HH", header[26:30]))

    def _stored(self, start: int, count: int) -> np.ndarray:
        return self.file.read(self._start() + start, min(count, self.size - start))

    def _unpack(self) -> np.ndarray:
        # One more, to see what is longer than it says.
        data = self._inflate(self.size + 1, self._info.compress_size)
        if len(data) != self.size:
            raise self._damaged(f"unpacks to {len(data)} bytes, not to {self.size}")
        if not self._checked:
            self._check([data])
        return data

    def _inflate(self, most: int, packed_bytes: int) -> np.ndarray:
        """At most `most` bytes of the content; what a small file unpacks to may be enormous."""
        packed = self.file.read(self._start(), min(self._info.compress_size, packed_bytes))
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most)
        except zlib.error as error:
            raise self._damaged(f"does not unpack ({error})") from None
        return np.frombuffer(bytearray(data), np.uint8)


def members(file: File) -> dict[str, Member]:
    """The members of an archive by name.

    Raises:
        UserError: not a whole archive, a name twice, members that overlap or run past the end, or
            a way of packing other than stored and deflated.
    """
    try:
        with zipfile.ZipFile(file.path) as archive:
            infos = archive.infolist()
    except OSError as error:
        raise file.unreadable(error) from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise file.damaged(f"not a whole zip archive ({str(error)[:100]})") from None
    # torch.serialization.set_crc32_options(False) writes zeros.
    summed = any(info.CRC for info in infos)
    found: dict[str, Member] = {}
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        member = Member(file, info, summed=summed)
        if info.filename in found:
            raise file.damaged(f"it has the member {shown(info.filename)} twice")
        if info.flag_bits & 1 or info.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise UserError(
                f"{file.where}: its member {shown(info.filename)} is encrypted or packed in a way"
                " that NumPy and PyTorch do not use; unpack the archive and save it again"
            )
        if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
            raise file.damaged(f"its member {shown(info.filename)} has two sizes")
        if info.header_offset < end:
            raise file.damaged(f"its member {shown(info.filename)} overlaps another")
        end = info.header_offset + LOCAL_HEADER + info.compress_size
        if end > file.size:
            raise file.damaged(f"its member {shown(info.filename)} runs past the end")
        found[info.filename] = member
    return {info.filename: found[info.filename] for info in infos}
