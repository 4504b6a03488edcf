"""Pictures of any mode -> RGB of 8 bits a channel.

Grey is repeated. Of 16 bits the upper 8 are kept, value >> 8, in every format alike. CMYK, YCCK
and CIELAB become sRGB by Pillow's formulas; profiles in the files are not applied. Transparency, be
it an alpha channel, entries of a palette or one colour, shows a background.
"""

import numpy as np
import PIL.Image
import PIL.ImageOps
from jaxtyping import Bool

from mmjax.data.readers import image_file
from mmjax.data.readers.content import Content, named
from mmjax.errors import UserError, decoding

Color = tuple[int, int, int]
WHITE: Color = (255, 255, 255)
BAND = 2**22  # pixels that are laid on the background at a time

_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
# Formats whose mode I is of 16 bits; in others it may be of any range.
_I_SIXTEEN = ("PNG", "PPM")
# Greys of fewer than 8 bits in a file, and what Pillow multiplies them by in the picture.
_SMALL_GREYS = {"L;2": 85, "L;4": 17}
_DEEP_RGB = "RGB;16"
_TWELVE = "I;12"


def read_rgb(
    value: Content, *, background: Color = WHITE, draft: tuple[int, int] | None = None
) -> PIL.Image.Image:
    """The picture in a file, or the first of several, as RGB, turned as the camera noted in it.

    Args:
        value: a path, the bytes of a file, or a file that is open for reading bytes.
        background: red, green and blue, 0 to 255, of what is behind transparent parts.
        draft: see `image_file.decode`.

    Raises:
        UserError: as of `image_file.load`; 32 bits a channel; a background that is no colour.
    """
    name = named("image", value)
    image, raw = image_file.decode(value, draft)
    with decoding(f"{name}: cannot be read", image_file.ADVICE):
        PIL.ImageOps.exif_transpose(image, in_place=True)
        return to_rgb(image, name, background=background, raw=raw)


def to_rgb(
    image: PIL.Image.Image, name: str, *, background: Color = WHITE, raw: str = ""
) -> PIL.Image.Image:
    """An image of any mode as RGB, not turned.

    Args:
        image: it stays as it is.
        name: for messages.
        background: of transparent parts, red, green and blue, 0 to 255.
        raw: the mode of its numbers in its file, if known.

    Raises:
        UserError: over 16 bits a channel, whose range is not known; a background that is no colour.
    """
    if not all(0 <= c <= 255 for c in background):
        raise UserError(f"{name}: background={background!r} must be three numbers, 0 to 255")
    raw = raw or image_file.raw_mode(image)
    if not image.has_transparency_data:
        return _shallow(image, name, raw).convert("RGB")
    canvas = PIL.Image.new("RGB", image.size)
    rows = max(1, BAND // max(1, image.width))
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        above = _with_alpha(band, name, raw)
        behind = PIL.Image.new("RGBA", band.size, (*background, 255))
        canvas.paste(PIL.Image.alpha_composite(behind, above).convert("RGB"), (0, top))
    return canvas


def _with_alpha(image: PIL.Image.Image, name: str, raw: str) -> PIL.Image.Image:
    if image.mode == "La":  # premultiplied grey
        return image.convert("LA").convert("RGBA")
    key = image.info.get("transparency")
    if image.mode in ("L", "RGB", *_SIXTEEN, "I") and isinstance(key, (int, tuple)):
        # Pillow compares the numbers of the file with those of the picture, which have other bits.
        alpha = np.where(_is_key(image, key, raw), 0, 255).astype(np.uint8)
        del image.info["transparency"]
        image = _shallow(image, name, raw).convert("RGB")
        image.putalpha(PIL.Image.fromarray(alpha))
        return image
    return _shallow(image, name, raw).convert("RGBA")


def _is_key(image: PIL.Image.Image, key: int | tuple, raw: str) -> Bool[np.ndarray, "H W"]:
    pixels = np.asarray(image)
    numbers = np.array(key, np.int64) * _SMALL_GREYS.get(raw, 1)
    if raw.startswith(_DEEP_RGB):
        numbers = numbers >> 8  # of its pixels no more than the upper half is there
    equal = pixels == numbers
    return equal.all(axis=-1) if equal.ndim == 3 else equal


def _shallow(image: PIL.Image.Image, name: str, raw: str) -> PIL.Image.Image:
    """The image with 8 bits a channel."""
    if image.mode in _SIXTEEN or (image.mode == "I" and image.format in _I_SIXTEEN):
        bits = 4 if raw.startswith(_TWELVE) else 8
        return PIL.Image.fromarray((np.asarray(image) >> bits).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UserError(
            f"{name}: mode {image.mode} has 32 bits a channel and no stated range; convert it to"
            " 8 bits"
        )
    return image
