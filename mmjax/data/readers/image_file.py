"""Files of pictures, decoded with Pillow: a picture or one line, in no more than stated memory."""

import io
from pathlib import Path

import PIL.Image

from mmjax.errors import UserError, decoding

MOST_PIXELS = 2**27  # half a GiB with four channels
MOST_BYTES = 2**30
ADVICE = "pass an intact file"


def load(path: Path) -> PIL.Image.Image:
    """The picture in a file, or the first of several, decoded, in the mode that it has.

    Raises:
        UserError: no file, no picture, a damaged one, or one of more than MOST_PIXELS.
    """
    what = f"image {path}: cannot be read"
    try:
        with decoding(what, ADVICE):
            if path.stat().st_size > MOST_BYTES:
                raise UserError(f"image {path}: has over {MOST_BYTES} bytes: pass a smaller one")
            # From memory, since a read of a file asks for as much as a damaged header says.
            with PIL.Image.open(io.BytesIO(path.read_bytes())) as image:
                _check(image, path)
                image.load()
                _check(image, path)  # those of icons are known only now
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise UserError(f"image {path}: no such file") from error
        if isinstance(error.__cause__, PIL.UnidentifiedImageError):
            raise UserError(
                f"image {path}: not an image; pass a PNG, JPEG or similar file"
            ) from error
        raise
    return image


def _check(image: PIL.Image.Image, path: Path) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise UserError(
            f"image {path}: has {image.height} x {image.width} pixels, over {MOST_PIXELS}:"
            " pass a smaller one"
        )
