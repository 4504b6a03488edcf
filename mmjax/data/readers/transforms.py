"""Per-example transforms in plain numpy: reading images and choosing questions."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from jaxtyping import UInt8

from mmjax.data.readers import image_file
from mmjax.errors import UserError, decoding

Image = str | Path | PIL.Image.Image | np.ndarray

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_SHAPES = "pass uint8 of shape [H W 3], [H W 4] or [H W]"


def read_image(value: Image, size: int | tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    """Reads one image and resizes it (bicubic).

    Args:
        value: a path, a PIL image, or an array uint8 [H W 3], [H W 4] or [H W]. Transparent parts
            become white; the orientation that a camera noted in the file is applied.
        size: height and width of the result in pixels, or the side of a square; the aspect ratio
            is not kept.

    Raises:
        UserError: the file is missing or no image, or the array has another shape or type.
    """
    if isinstance(value, np.ndarray):
        image = _from_array(value)
    elif isinstance(value, PIL.Image.Image):
        image = _to_rgb(value, "image")
    else:
        image = _from_file(Path(value))
    return np.asarray(_resize(image, size))


def decode_image(data: bytes, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Decodes the content of an image file as `read_image` reads the file.

    Raises:
        OSError, SyntaxError, ValueError, UserError: `data` is not a readable image.
    """
    with PIL.Image.open(io.BytesIO(data)) as image:
        return np.asarray(_resize(_to_rgb(image, "image"), size))


def _resize(image: PIL.Image.Image, size: int | tuple[int, int]) -> PIL.Image.Image:
    height, width = (size, size) if isinstance(size, int) else size
    if image.size == (width, height):
        return image
    return image.resize((width, height), PIL.Image.Resampling.BICUBIC)


def _from_file(path: Path) -> PIL.Image.Image:
    image = image_file.load(path)
    with decoding(f"image {path}: cannot be read", image_file.ADVICE):
        return _to_rgb(image, f"image {path}")


def _from_array(value: np.ndarray) -> PIL.Image.Image:
    if value.dtype != np.uint8:
        advice = "multiply by 255 and round" if value.dtype.kind == "f" else "convert"
        raise UserError(f"image array is {value.dtype}, not uint8 (0 to 255): {advice}; {_SHAPES}")
    if value.ndim not in (2, 3) or value.shape[2:] not in ((), (3,), (4,)) or 0 in value.shape:
        raise UserError(f"image array has shape {list(value.shape)}: {_SHAPES}")
    return _to_rgb(PIL.Image.fromarray(value), "image")


def _to_rgb(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    if image.mode in _DEEP_MODES:
        raise UserError(
            f"{name}: mode {image.mode} has over 8 bits a channel; convert it to 8 bits"
        )
    image = PIL.ImageOps.exif_transpose(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = PIL.Image.new("RGBA", image.size, (255, 255, 255, 255))
    return PIL.Image.alpha_composite(white, image).convert("RGB")


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
