"""Reading, resizing and cropping images with Pillow, as the processors of checkpoints do it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps

from mmjax.data.readers import image_file
from mmjax.data.readers.content import Content, is_content, named
from mmjax.errors import UserError, decoding
from mmjax.interop.preprocess import limits

Image = Content | PIL.Image.Image | np.ndarray
Change = Callable[[PIL.Image.Image], PIL.Image.Image]

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_SHAPES = "pass uint8 of shape [H W 3] or [H W]"


def read(value: Any) -> PIL.Image.Image:
    """Opens one image, in the mode it has.

    It is turned as the camera noted in it, be it a file or an image that is open already.

    Args:
        value: a path, the bytes of a file, an open file, a PIL image, or an array uint8 [H W 3] or
            [H W].

    Raises:
        UserError: no file, no image, an empty one, over 8 bits a channel, or another shape or type.
    """
    if isinstance(value, np.ndarray):
        return _from_array(value)
    if isinstance(value, PIL.Image.Image):
        return _turned(_checked(value, "image"), "image")
    if is_content(value):
        return _from_file(value)
    raise UserError(f"image: expected a path, a PIL image or an array, not {type(value).__name__}")


def rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Converts to RGB. Transparency is dropped: the colour under it stays, as CLIP was trained."""
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise UserError(f"image of mode {image.mode} cannot become RGB ({error})") from error


def to_size(height: int, width: int, resample: int) -> Change:
    """Resizes to height x width pixels, whatever the aspect ratio was."""
    return lambda image: _resize(image, height, width, resample)


def to_shorter_side(side: int, resample: int) -> Change:
    """Resizes so that the shorter side has `side` pixels; the longer is rounded down."""

    def change(image: PIL.Image.Image) -> PIL.Image.Image:
        width, height = image.size
        longer = int(side * max(width, height) / min(width, height))
        sides = (longer, side) if width <= height else (side, longer)
        return _resize(image, *sides, resample)

    return change


def to_fit(height: int, width: int, resample: int, *, inside: bool) -> Change:
    """Resizes with the aspect ratio kept, to touch height x width from inside or from outside."""

    def change(image: PIL.Image.Image) -> PIL.Image.Image:
        ratios = image.height / height, image.width / width
        ratio = max(ratios) if inside else min(ratios)
        return _resize(image, round(image.height / ratio), round(image.width / ratio), resample)

    return change


def to_patches(patch: int, most: int, resample: int) -> Change:
    """Resizes to whole patches, `most` of them at most, near to the aspect ratio (NaFlex).

    Both sides are scaled by one factor and rounded up to whole patches; the factor is the largest
    for which there are not too many, by a binary search to 1e-5 (Tschannen et al. 2025, SigLIP 2).
    """

    limits.check_picture(most, patch**2)

    def sides(image: PIL.Image.Image, scale: float) -> tuple[int, int]:
        scaled = (math.ceil(side * scale / patch) * patch for side in (image.height, image.width))
        height, width = (max(patch, side) for side in scaled)
        return height, width

    def change(image: PIL.Image.Image) -> PIL.Image.Image:
        low, high = 1e-6, 100.0
        while high - low >= 1e-5:
            middle = (low + high) / 2
            height, width = sides(image, middle)
            if (height // patch) * (width // patch) <= most:
                low = middle
            else:
                high = middle
        return _resize(image, *sides(image, low), resample)

    return change


def centre_crop(height: int, width: int, *, nearest: bool = False, fill: Any = 0) -> Change:
    """Cuts out the centre, or pads around it where the image is smaller.

    Args:
        height, width: of the result in pixels.
        nearest: where an odd number of pixels is too many, which side loses one more. False: always
            the right and the bottom (transformers). True: so that the left and the top lose an even
            number (torchvision), and an odd number of padding has one more on the right.
        fill: of the padding; a number, or one for each channel.
    """

    limits.check_picture(height, width)

    def start(have: int, want: int) -> int:
        if not nearest:
            return (have - want) // 2
        return round((have - want) / 2) if have >= want else -((want - have) // 2)

    def change(image: PIL.Image.Image) -> PIL.Image.Image:
        top, left = start(image.height, height), start(image.width, width)
        cut = image.crop((left, top, left + width, top + height))
        if fill == 0 or (image.height >= height and image.width >= width):
            return cut
        colour = (fill,) * len(image.getbands()) if isinstance(fill, int) else tuple(fill)
        whole = PIL.Image.new(
            image.mode, (width, height), colour[0] if len(colour) == 1 else colour
        )
        if image.mode == "P":
            whole.putpalette(image.getpalette("RGBA"), "RGBA")
        whole.paste(image, (-left, -top))
        return whole

    return change


def _resize(image: PIL.Image.Image, height: int, width: int, resample: int) -> PIL.Image.Image:
    # A strip of 1 x 10000 pixels resized to a shorter side of 224 would have 500 million.
    if min(height, width) < 1 or height * width > limits.PIXELS:
        raise UserError(
            f"image of {image.height} x {image.width} pixels would be resized to {height} x {width}"
            " by this processor: crop it to a less extreme aspect ratio first"
        )
    return image.resize((width, height), PIL.Image.Resampling(resample))


def _from_file(value: Content) -> PIL.Image.Image:
    name = named("image", value)
    return _turned(_checked(image_file.load(value), name), name)


def _turned(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    with decoding(f"{name}: its Exif data cannot be read", "save it anew, without them"):
        return PIL.ImageOps.exif_transpose(image)


def _from_array(value: np.ndarray) -> PIL.Image.Image:
    if value.dtype != np.uint8:
        advice = "multiply by 255 and round" if value.dtype.kind == "f" else "convert"
        raise UserError(f"image array is {value.dtype}, not uint8 (0 to 255): {advice}; {_SHAPES}")
    if value.ndim not in (2, 3) or value.shape[2:] not in ((), (3,)) or 0 in value.shape:
        raise UserError(f"image array has shape {list(value.shape)}: {_SHAPES}")
    return PIL.Image.fromarray(np.ascontiguousarray(value))


def _checked(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    if 0 in image.size:
        raise UserError(f"{name}: empty, {image.height} x {image.width} pixels")
    if image.mode in _DEEP_MODES:
        raise UserError(
            f"{name}: mode {image.mode} has over 8 bits a channel; convert it to 8 bits"
        )
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(f"{name}: cannot be read ({error}); pass an intact file") from error
    return image
