"""Files that hold videos and the sounds beside them, opened with PyAV (FFmpeg).

FFmpeg also knows formats that name other files or addresses, such as playlists; only those that are
listed here are opened, from what is given alone.
"""

import contextlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from typing import Any

from mmjax.errors import UserError

FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "flv"),
    *("asf", "ogg", "aac"),
)
OLDEST = (17, 1)  # those before end the process on limits for files without a table of tracks
HEAD = 197  # bytes that tell what a file is
BUFFER = 2**18  # bytes that are read at a time
ADVICE = "pass an intact MP4, WebM, MKV, MOV, AVI or MPEG file"
# What a file begins with, at which byte.
_BEGINNINGS = (
    *((4, kind) for kind in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
    (8, b"AVI "),
    (0, b"\0\0\1\xba"),  # MPEG program stream
    (0, b"FLV\1"),
    (0, b"0&\xb2u\x8ef\xcf\x11"),  # ASF, WMV
    *((0, b"\xff" + bytes([layer])) for layer in (0xF0, 0xF1, 0xF8, 0xF9)),  # AAC in ADTS
)
_ATTACHED = 1 << 10  # AV_DISPOSITION_ATTACHED_PIC
_PACKET = {0: 188, 4: 192}  # of an MPEG transport stream: where its first byte is, and its length


def is_container(head: bytes) -> bool:
    """Whether a file with these first HEAD bytes is one that PyAV opens here."""
    begins = any(head[at : at + len(part)] == part for at, part in _BEGINNINGS)
    return begins or any(head[at : at + size + 1 : size] == b"GG" for at, size in _PACKET.items())


def require(name: str) -> None:
    """Raises a UserError where PyAV is not installed, or is too old.

    Args:
        name: of the file, for messages.
    """
    if importlib.util.find_spec("av") is None:
        raise UserError(f"{name}: needs PyAV; run: pip install av")
    version = importlib.metadata.version("av")
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        raise UserError(f"{name}: PyAV {version} is too old; run: pip install -U 'av>=17.1'")


@contextlib.contextmanager
def container(file: Any, name: str, pixels: int) -> Iterator[Any]:
    """The `av.container.InputContainer` of a file to seek in.

    Args:
        file: open for reading bytes.
        name: for messages.
        pixels: of one picture at most, whatever a header says.

    Raises:
        UserError: PyAV is not installed, or too old.
        av.FFmpegError, ValueError: damaged, or none of FORMATS.
    """
    require(name)
    import av

    options = {"format_whitelist": ",".join(FORMATS), "max_pixels": str(pixels)}
    with av.open(file, options=options, metadata_errors="replace", buffer_size=BUFFER) as found:
        yield found


def stream_of(found: Any, kind: str, name: str, pixels: int) -> Any:
    """The first video or audio track, whose decoder works in one thread and holds `pixels` at most.

    Args:
        found: of `container`.
        kind: "video" or "audio".
        name: for messages.
        pixels: of one picture.

    Raises:
        UserError: there is none, or none that can be decoded.
    """
    streams = [s for s in getattr(found.streams, kind) if not _is_cover(s)]
    if not streams:
        raise UserError(f"{name}: has no {kind} track; pass a file that has one")
    stream = streams[0]
    if stream.codec_context is None:
        raise UserError(f"{name}: no decoder knows its {kind} track; convert it to H.264 and AAC")
    stream.codec_context.options = {"max_pixels": str(pixels)}
    stream.codec_context.thread_count = 1  # workers of a loader are processes already
    return stream


def _is_cover(stream: Any) -> bool:
    """Whether it is a picture of an album, which files of music have as a video of one frame."""
    return bool(int(getattr(stream, "disposition", 0)) & _ATTACHED)
