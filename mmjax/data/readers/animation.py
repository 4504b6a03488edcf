"""Animated GIF, WebP and PNG as videos, decoded with Pillow."""

import contextlib
import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Float64

from mmjax.data.readers.content import read_whole
from mmjax.errors import UserError

MAX_PICTURE_PIXELS = 2**32  # of all pictures together, each of which is decoded: 2,000 of Full HD
STILL = 0.1  # seconds that a picture is shown which says 0, as browsers show it
FORMATS = ("GIF", "WEBP", "PNG")


def is_animation(head: bytes) -> bool:
    """Whether a file with these first bytes is of one of the formats."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return webp or head.startswith((b"GIF8", b"\x89PNG\r\n"))


@contextlib.contextmanager
def animation(file: Any, name: str, pixels: int) -> Iterator[PIL.Image.Image]:
    """The pictures of a file that is open for reading bytes, at the first.

    Args:
        file: open.
        name: for messages.
        pixels: of one picture at most.

    Raises:
        UserError: larger pictures.
        OSError, ValueError, SyntaxError: damaged.
    """
    data = read_whole(file, name)
    if data.startswith(b"GIF8"):
        _check_gif(data, name, pixels)
    with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
        yield image


def _check_gif(data: bytes, name: str, pixels: int) -> None:
    """Raises a UserError for a GIF with a picture that lies so far out that all become too large,
    for which Pillow takes the memory as soon as it meets it."""
    right, below = struct.unpack_from("<HH", data, 6)
    place = 13 + _table(data[10])
    while place + 10 <= len(data) and data[place] in (0x21, 0x2C):
        if data[place] == 0x21:  # an extension
            place += 2
        else:
            x, y, width, height, flags = struct.unpack_from("<HHHHB", data, place + 1)
            right, below = max(right, x + width), max(below, y + height)
            if right * below > pixels:
                raise UserError(
                    f"{name}: has pictures up to {below} x {right} pixels, over {pixels}"
                    " (MAX_PIXELS): pass a smaller one"
                )
            place += 11 + _table(flags)
        while place < len(data) and data[place]:  # blocks, each with its length
            place += 1 + data[place]
        place += 1


def _table(flags: int) -> int:
    """The bytes of a table of colours, which flags of a GIF tell."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def times(image: PIL.Image.Image, name: str) -> tuple[Float64[np.ndarray, " N"], float]:
    """When each picture begins, and when the last ends, in seconds.

    Raises:
        UserError: over MAX_PICTURE_PIXELS.
    """
    count = getattr(image, "n_frames", 1)
    if count * image.width * image.height > MAX_PICTURE_PIXELS:
        raise UserError(
            f"{name}: {count} pictures of {image.height} x {image.width} are over"
            f" {MAX_PICTURE_PIXELS} pixels (MAX_PICTURE_PIXELS): pass a smaller one"
        )
    spans = []
    for number in range(count):
        image.seek(number)
        image.load()  # only then some formats say how long it is shown
        spans.append(image.info.get("duration", 0) or 1000 * STILL)
    ends = np.cumsum(np.array(spans, np.float64)) / 1000
    return np.concatenate([np.zeros(1), ends[:-1]]), float(ends[-1])
