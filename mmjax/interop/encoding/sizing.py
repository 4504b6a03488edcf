"""Pictures of any size -> the pixels that a model sees, before they are normalised."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mmjax.interop.preprocess.images import pixels
from mmjax.interop.preprocess.images.recipes import recipe


def sized(config: Mapping[str, Any]) -> Callable[[Sequence[Any]], list[UInt8[np.ndarray, "H W 3"]]]:
    """The function from images to pixels that a checkpoint's configuration describes.

    Args:
        config: as of `mmjax.interop.preprocess.images.processor.image_processor`, of which this is
            the first
            half: it resizes and crops.

    Raises:
        UserError: as that does.
    """
    steps = recipe(config)

    def process(values: Sequence[Any]) -> list[np.ndarray]:
        found = []
        for value in values:
            image = pixels.read(value)
            image = image if steps.rgb_last else pixels.rgb(image)
            for change in steps.changes:
                image = change(image)
            found.append(np.asarray(pixels.rgb(image)))
        return found

    return process
