"""The steps from an image to numbers, and what the values in a configuration may be."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmjax.errors import UserError
from mmjax.interop.preprocess.images import pixels

CLIP = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
HALF = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
RESAMPLE = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


class Recipe(NamedTuple):
    """The steps from one image to numbers.

    changes: resizing and cropping, in order.
    rgb_last: whether the image keeps its mode (palette, transparency) until these are done.
    scale, offset: 0..255 -> value * scale + offset. None: 0..255 stays.
    mean, std: subtracted and divided by then, one for each channel. None: neither.
    video: an input is a sequence of frames.
    patches: (side of a patch in pixels, their most) where an image becomes a list of patches.
    """

    changes: Sequence[pixels.Change]
    rgb_last: bool
    scale: float | None
    offset: float
    mean: Sequence[float] | None
    std: Sequence[float] | None
    video: bool = False
    patches: tuple[int, int] | None = None


def inner(config: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, Mapping):
        raise UserError(f"{name}: {key} must be an object, not {value!r}")
    return value


def sides_of(size: Any, name: str, key: str) -> tuple[int, int]:
    """(height, width) from one number, [height, width] or {"height": …, "width": …}."""
    if isinstance(size, Mapping) and set(size) == {"height", "width"}:
        size = (size["height"], size["width"])
    if isinstance(size, list | tuple) and len(size) == 2:
        return pixels_of(size[0], name, key), pixels_of(size[1], name, key)
    side = pixels_of(size, name, key)
    return side, side


def pixels_of(value: Any, name: str, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 2**16:
        raise UserError(f"{name}: {key} cannot be {value!r}; it counts pixels or patches")
    return value


def number_of(value: Any, name: str, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UserError(f"{name}: {key} must be a positive number, not {value!r}")
    return float(value)


def three_of(value: Any, name: str, key: str, *, positive: bool = False) -> Sequence[float]:
    values = list(value) if isinstance(value, list | tuple) else [value] * 3
    good = len(values) == 3 and all(
        isinstance(v, int | float) and math.isfinite(v) and (v > 0 or not positive) for v in values
    )
    if not good:
        kind = "positive numbers" if positive else "numbers"
        raise UserError(f"{name}: {key} must be three {kind} or one, not {value!r}")
    return [float(v) for v in values]


def resample_of(value: Any, name: str) -> int:
    if isinstance(value, bool) or value not in RESAMPLE.values():
        raise UserError(f"{name}: resample must be one of Pillow's filters 0 to 5, not {value!r}")
    return int(value)
