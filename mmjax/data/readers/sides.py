"""How large pictures and videos are, without decoding more than is needed."""

from typing import Any

import numpy as np

from mmjax.data.readers import animation, container, image_file
from mmjax.data.readers.content import is_content, named, opened
from mmjax.data.readers.video_file import MAX_PIXELS
from mmjax.errors import decoding


def of_image(value: Any) -> int:
    """The longer side in pixels of a file or an array [H W ...]; raises as `image_file.load`."""
    return max(image_file.load(value).size if is_content(value) else np.shape(value)[:2])


def of_video(value: Any) -> int:
    """The longer side in pixels of a file or an array [T H W ...].

    Raises:
        UserError: no file, no video, or a damaged one.
    """
    if not is_content(value):
        return max(np.shape(value)[1:3])
    name = named("video", value)
    with opened(value, f"{name}: cannot be read") as file:
        head = file.read(container.HEAD)
        file.seek(0)
        if animation.is_animation(head):
            return of_image(file)
        with (
            decoding(f"{name}: cannot be read", container.ADVICE),
            container.container(file, name, MAX_PIXELS) as found,
        ):
            codec = container.stream_of(found, "video", name, MAX_PIXELS).codec_context
            return max(codec.width, codec.height)
