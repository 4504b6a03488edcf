"""Per-example transforms in plain numpy: reading images and choosing questions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
from jaxtyping import UInt8

from mmjax.data.readers.content import Content, is_content
from mmjax.data.readers.image_file import raw_mode
from mmjax.data.readers.image_modes import WHITE, Color, read_rgb, to_rgb
from mmjax.errors import UserError, decoding

Image = Content | PIL.Image.Image | np.ndarray

_SHAPES = "pass uint8 of shape [H W 3], [H W 4] or [H W]"


def read_image(
    value: Any, size: int | tuple[int, int], *, background: Color = WHITE
) -> UInt8[np.ndarray, "height width 3"]:
    """Reads one image and resizes it (bicubic).

    Args:
        value: a path, the bytes of a file, a file open for reading bytes, a PIL image, or an array
            uint8 [H W 3], [H W 4] or [H W]. The orientation that a camera noted in the file is
            applied; of an animation the first picture is read; for other modes than RGB see
            `mmjax.data.readers.image_modes`.
        size: height and width of the result in pixels, or the side of a square; the aspect ratio
            is not kept.
        background: what is behind transparent parts: red, green and blue, 0 to 255.

    Raises:
        UserError: the file is missing, damaged, too large or no image, or the array has another
            shape or type.
    """
    if isinstance(value, np.ndarray):
        image = to_rgb(_from_array(value), "image array", background=background)
    elif isinstance(value, PIL.Image.Image):
        image = _from_image(value, background)
    elif is_content(value):
        image = read_rgb(value, background=background)
    else:
        raise UserError(
            f"image: expected a path, bytes, an open file, a PIL image or an array, not"
            f" {type(value).__name__}"
        )
    return np.asarray(resize(image, size))


def decode_image(
    value: Content, size: int, *, background: Color = WHITE
) -> UInt8[np.ndarray, "size size 3"]:
    """Decodes an image of training data: `read_image` of a file, faster for large JPEGs.

    A JPEG of at least four times `size` is decoded at a half, a quarter or an eighth first, to no
    less than twice `size` (see `image_file.decode`). Of photographs its pixels differ from those of
    `read_image` by 1.5 of 255 at most on average, and by 16 at most; all others are equal.

    Raises:
        UserError: no readable image.
    """
    image = read_rgb(value, background=background, draft=(size, size))
    return np.asarray(resize(image, size))


def resize(image: PIL.Image.Image, size: int | tuple[int, int]) -> PIL.Image.Image:
    """An image of this height and width, or of a square of this side (bicubic)."""
    height, width = (size, size) if isinstance(size, int) else size
    if image.size == (width, height):
        return image
    return image.resize((width, height), PIL.Image.Resampling.BICUBIC)


def _from_image(value: PIL.Image.Image, background: Color) -> PIL.Image.Image:
    with decoding("image: cannot be read", "pass an intact one"):
        raw = raw_mode(value)
        return to_rgb(PIL.ImageOps.exif_transpose(value), "image", background=background, raw=raw)


def _from_array(value: np.ndarray) -> PIL.Image.Image:
    if value.dtype != np.uint8:
        advice = "multiply by 255 and round" if value.dtype.kind == "f" else "convert"
        raise UserError(f"image array is {value.dtype}, not uint8 (0 to 255): {advice}; {_SHAPES}")
    if value.ndim not in (2, 3) or value.shape[2:] not in ((), (3,), (4,)) or 0 in value.shape:
        raise UserError(f"image array has shape {list(value.shape)}: {_SHAPES}")
    return PIL.Image.fromarray(value)


def take_questions(record: Mapping, start: int, count: int) -> dict:
    """Takes questions `start` to `start + count` of a record in their order.

    Returns:
        As `select_questions`.
    """
    total = len(record["questions"]["question"])
    return _gather(record, np.arange(start, min(start + count, total)), count)


def select_questions(record: Mapping, rng: np.random.Generator, count: int) -> dict:
    """Draws `count` questions of a record without replacement, in random order.

    Returns:
        `question`, a tuple of str; `answer` and `type` int32 [count]; `mask` bool [count], False
        (and the question empty) where the record has fewer questions.
    """
    total = len(record["questions"]["question"])
    return _gather(record, rng.permutation(total)[:count], count)


def _gather(record: Mapping, chosen: np.ndarray, count: int) -> dict:
    asked = record["questions"]
    numbers = {key: np.zeros(count, np.int32) for key in ("answer", "type")}
    for key, padded in numbers.items():
        padded[: len(chosen)] = np.asarray(asked[key])[chosen]
    texts = tuple(asked["question"][index] for index in chosen)
    padding = ("",) * (count - len(chosen))
    return {"question": texts + padding, "mask": np.arange(count) < len(chosen), **numbers}
