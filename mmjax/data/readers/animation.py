"""Animated GIF, WebP and PNG as videos, decoded with Pillow."""

import contextlib
import io
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
def animation(file: Any) -> Iterator[PIL.Image.Image]:
    """The pictures of a file that is open for reading bytes, at the first.

    Raises:
        OSError, ValueError, SyntaxError: damaged.
    """
    data = read_whole(file, "animation")
    with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
        yield image


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
