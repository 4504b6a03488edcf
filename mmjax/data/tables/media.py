"""Files that cells name or hold: which kind they are of, and where they are."""

import os
from collections.abc import Mapping
from pathlib import Path

from mmjax.data.tables.files import File, is_remote
from mmjax.errors import UserError

IMAGE, AUDIO, VIDEO = "image", "audio", "video"
ENDINGS: Mapping[str, tuple[str, ...]] = {
    IMAGE: (*(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"), ".ppm", ".pgm"),
    AUDIO: (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff"),
    VIDEO: (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ogv"),
}
HEAD = 64  # bytes that tell what a file holds
_BY_ENDING = {ending: kind for kind, endings in ENDINGS.items() for ending in endings}
# By bytes at a place of a file.
_BEGINS: tuple[tuple[str, int, bytes], ...] = (
    (IMAGE, 0, b"\x89PNG"),
    (IMAGE, 0, b"\xff\xd8\xff"),
    (IMAGE, 0, b"GIF8"),
    (IMAGE, 0, b"BM"),
    (IMAGE, 0, b"II*\0"),
    (IMAGE, 0, b"MM\0*"),
    (IMAGE, 8, b"WEBP"),
    (AUDIO, 8, b"WAVE"),
    (VIDEO, 8, b"AVI "),
    (AUDIO, 0, b"fLaC"),
    (AUDIO, 0, b"OggS"),
    (AUDIO, 0, b"ID3"),
    (AUDIO, 0, b"\xff\xfb"),
    (AUDIO, 8, b"M4A"),
    (AUDIO, 0, b"FORM"),
    (VIDEO, 4, b"ftyp"),
    (VIDEO, 0, b"\x1a\x45\xdf\xa3"),
    (VIDEO, 0, b"\0\0\1\xba"),
)


def kind_of_path(text: str) -> str:
    """What a path names by its ending; "" for other texts."""
    ending = os.path.splitext(text.strip().lower())[1]
    return _BY_ENDING.get(ending, "") if "\n" not in text else ""


def kind_of_bytes(head: bytes) -> str:
    """What a file with these first bytes holds; "" if that is not known."""
    found = (kind for kind, at, magic in _BEGINS if head[at : at + len(magic)] == magic)
    return next(found, "")


def resolve(value: str, folder: str, root: str = "") -> str:
    """The path or URL of a file that a cell names.

    Args:
        value: of the cell; a relative path is looked for in `root`, then in `folder`, then in the
            working directory.
        folder: that the table's file is in.
        root: where the user says that files are; "" for nowhere else.

    Raises:
        UserError: it is in none of them; the line says where it was looked for.
    """
    value = value.strip()
    if is_remote(value):
        return value
    value = os.path.expanduser(value)
    places = [""] if os.path.isabs(value) else list(dict.fromkeys(p for p in (root, folder) if p))
    places += [] if os.path.isabs(value) else [""]
    for place in places:
        for name in dict.fromkeys((value, value.replace("\\", "/"))):
            path = f"{place.rstrip('/')}/{name}" if is_remote(place) else os.path.join(place, name)
            if is_remote(path) or os.path.isfile(path):
                return path
    looked = dict.fromkeys(str(Path(place).absolute()) for place in places)
    where = "" if os.path.isabs(value) else f"; looked in {' and '.join(looked)}"
    raise UserError(f"{value!r}: no such file{where}")


def opened(value: str | bytes, folder: str, root: str = "") -> str | bytes:
    """What a decoder reads of a cell: the path of a file on this machine, or its bytes.

    Raises:
        UserError: no such file, or an empty one.
    """
    if isinstance(value, bytes):
        if not value:
            raise UserError("a file of 0 bytes")
        return value
    path = resolve(value, folder, root)
    if is_remote(path):
        file = File(path)
        if file.size:
            return file.read(0, file.size)
    elif os.path.getsize(path):
        return path
    raise UserError(f"{path} is empty (0 bytes)")


def head(value: str | bytes, folder: str, root: str = "") -> bytes:
    """The first bytes of what a cell names or holds."""
    if isinstance(value, bytes):
        return value[:HEAD]
    return File(resolve(value, folder, root)).read(0, HEAD)
