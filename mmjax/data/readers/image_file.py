"""Files of pictures, decoded with Pillow: a picture or one line, in no more than stated memory.

MAX_PIXELS of four bytes are half a GiB. Turning and converting take as much again, up to twice, for
a moment; the content of the file, of MAX_BYTES at most, comes on top.
"""

import functools
import io
import logging
from typing import NamedTuple

import PIL.Image

from mmjax.data.readers.content import Content, named, read_whole
from mmjax.errors import UserError, decoding

MAX_PIXELS = 2**27
DRAFT_GAP = 2  # how many times its new size a picture keeps that is decoded smaller
ADVICE = "pass an intact file"

_logger = logging.getLogger(__name__)


class Decoded(NamedTuple):
    """A picture, in the mode that it has, and the mode of its numbers in the file ("" if unknown),
    such as "L;4" for four bits a pixel."""

    image: PIL.Image.Image
    raw: str


def load(value: Content) -> PIL.Image.Image:
    """The picture in a file, or the first of several, decoded, in the mode that it has.

    Args:
        value: a path, the bytes of a file, or a file that is open for reading bytes.

    Raises:
        UserError: no file, no picture, a damaged one, or one of more than MAX_PIXELS or of a file
            of more than MAX_BYTES.
    """
    return decode(value).image


def decode(value: Content, draft: tuple[int, int] | None = None) -> Decoded:
    """As `load`.

    Args:
        value: as of `load`.
        draft: the height and width that the picture is resized to afterwards. A JPEG is then
            decoded at 1/2, 1/4 or 1/8 of its size if that keeps DRAFT_GAP times these: faster, by
            a scaled inverse DCT, with pixels that differ a little.

    Raises:
        UserError: as of `load`.
    """
    name = named("image", value)
    data = read_whole(value, name)
    try:
        # From memory, since a read of a file asks for as much as a damaged header says.
        with decoding(f"{name}: cannot be read", ADVICE), PIL.Image.open(io.BytesIO(data)) as image:
            _check(image, name)
            if getattr(image, "is_animated", False):
                _tell_animated(image.format or "")
            if draft is not None and image.format in ("JPEG", "MPO"):
                # The camera may have been turned: either side may become the height.
                side = DRAFT_GAP * max(draft)
                image.draft(None, (side, side))
            raw = raw_mode(image)
            image.load()
            _check(image, name)  # those of icons are known only now
    except UserError as error:
        if isinstance(error.__cause__, PIL.UnidentifiedImageError):
            raise UserError(f"{name}: not an image; pass a PNG, JPEG or similar file") from error
        raise
    return Decoded(image, raw)


def raw_mode(image: PIL.Image.Image) -> str:
    """The mode of the numbers in the file of an image that is open and not yet loaded, else ""."""
    for tile in getattr(image, "tile", ()):
        arguments = tile[3] if isinstance(tile[3], (tuple, list)) else (tile[3],)
        for argument in arguments:
            if isinstance(argument, str):
                return argument
    return ""


@functools.cache
def _tell_animated(kind: str) -> None:
    """Says it once for each format of a process."""
    _logger.info("of %s files with several pictures the first is read", kind)


def _check(image: PIL.Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise UserError(
            f"{name}: has {image.height} x {image.width} pixels, over {MAX_PIXELS} (MAX_PIXELS):"
            " pass a smaller one"
        )
