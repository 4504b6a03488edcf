"""Images and videos -> the pixel values that a pretrained model expects."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Float32, UInt8

from mmjax.errors import UserError
from mmjax.interop.preprocess import limits
from mmjax.interop.preprocess.images import pixels
from mmjax.interop.preprocess.images.recipes import Recipe, recipe


def image_processor(config: Mapping[str, Any]) -> Callable[[Sequence[Any]], dict[str, np.ndarray]]:
    """The function from images to a model's inputs that a checkpoint's configuration describes.

    Resizing is Pillow's, as the processors of transformers do it that do not need PyTorch (and as
    all of them did before version 5); their torchvision variants ("Fast") round differently, by up
    to two of 255 grey levels. Transparency is dropped, the colour under it stays: so these models
    were trained. transformers 5 pastes open PIL images (not files) on white instead.

    Args:
        config: the contents of one of
            preprocessor_config.json, processor_config.json, video_preprocessor_config.json of
                transformers, for the classes in `image_classes.CLASSES` and their older names;
            open_clip_config.json;
            timm's config.json, or a pretrained_cfg;
            the arguments of torchvision's `ImageClassification`: resize_size (needed), crop_size,
                mean, std, interpolation.

    Returns:
        images -> {"pixel_values": float32 [B 3 H W]}. An image is a path, a PIL image or an array
        uint8 [H W 3] or [H W] of any size. Of a video model: videos -> float32 [B T 3 H W], where a
        video is an array uint8 [T H W 3] or a sequence of images. Of Siglip2ImageProcessor:
        "pixel_values" float32 [B N P] of N patches with P = side * side * 3 numbers each, zero
        where there are no more, "pixel_attention_mask" int32 [B N] with 1 for the real ones,
        "spatial_shapes" int32 [B 2] with the rows and columns of patches.

    Raises:
        UserError: at once, a class, a key or a value that is not understood; later, no images,
            what is not an image, or images that come out in different sizes.
    """
    steps = recipe(config)
    tables = _tables(steps)

    def process(images: Any) -> dict[str, np.ndarray]:
        values = _listed(images, 5 if steps.video else 4)
        if steps.patches:
            return _patches([_image(steps, tables, value) for value in values], *steps.patches)
        if steps.video:
            videos = [[_image(steps, tables, frame) for frame in _frames(v)] for v in values]
            arrays = [_stacked(video, "the frames of a video") for video in videos]
            return {"pixel_values": _stacked(arrays, "videos")}
        return {"pixel_values": _stacked([_image(steps, tables, v) for v in values], "images")}

    return process


def _tables(steps: Recipe) -> Float32[np.ndarray, "3 256"]:
    """The value of each grey level in each channel; rounded to float32 where transformers does."""
    levels = np.arange(256, dtype=np.float64)
    values = (levels if steps.scale is None else levels * steps.scale).astype(np.float32)
    values = np.broadcast_to(values + np.float32(steps.offset), (3, 256))
    if steps.mean is None or steps.std is None:
        return values
    return (values - np.float32(steps.mean)[:, None]) / np.float32(steps.std)[:, None]


def _image(steps: Recipe, tables: np.ndarray, value: Any) -> Float32[np.ndarray, "3 H W"]:
    image = pixels.read(value)
    if not steps.rgb_last:
        image = pixels.rgb(image)
    for change in steps.changes:
        image = change(image)
    levels: UInt8[np.ndarray, "H W 3"] = np.asarray(pixels.rgb(image))
    return np.stack([table[levels[..., c]] for c, table in enumerate(tables)])


def _listed(images: Any, axes: int) -> Iterable[Any]:
    """The values of a batch; a lone image or video is a mistake that must not go unseen."""
    alone = isinstance(images, str | PIL.Image.Image) or not isinstance(images, Iterable)
    if alone or (isinstance(images, np.ndarray) and images.ndim != axes):
        kind = "images" if axes == 4 else "videos"
        raise UserError(f"expected a list of {kind}, got one {type(images).__name__}: pass [it]")
    values = list(images)
    if not values:
        raise UserError("expected a list of images or videos, got an empty one")
    return values


def _frames(video: Any) -> Iterable[Any]:
    shape = "pass an array uint8 [T H W 3] or a sequence of images"
    if isinstance(video, str | PIL.Image.Image) or not isinstance(video, Iterable):
        raise UserError(f"a video cannot be one {type(video).__name__}: {shape}")
    if isinstance(video, np.ndarray) and video.ndim != 4:
        raise UserError(f"a video of shape {list(video.shape)}: {shape}")
    frames = list(video)
    if not frames:
        raise UserError(f"a video without frames: {shape}")
    return frames


def _stacked(arrays: Sequence[np.ndarray], kind: str) -> np.ndarray:
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise UserError(
            f"{kind} come out in different shapes, {list(shapes[0])} and {list(shapes[1])}: pass"
            " ones of equal shape, or one at a time"
        )
    return np.stack(arrays)


def _patches(images: Sequence[np.ndarray], side: int, most: int) -> dict[str, np.ndarray]:
    limits.check_picture(most, side * side)
    values = np.zeros((len(images), most, side * side * 3), np.float32)
    mask = np.zeros((len(images), most), np.int32)
    shapes = np.zeros((len(images), 2), np.int32)
    for row, image in enumerate(images):
        rows, columns = image.shape[1] // side, image.shape[2] // side
        if image.shape[1:] != (rows * side, columns * side) or rows * columns > most:
            raise UserError(
                f"an image of {image.shape[1]} x {image.shape[2]} pixels is not at most {most}"
                f" patches of {side} x {side}; set do_resize, or resize it"
            )
        cut = image.reshape(3, rows, side, columns, side).transpose(1, 3, 2, 4, 0)
        values[row, : rows * columns] = cut.reshape(rows * columns, -1)
        mask[row, : rows * columns] = 1
        shapes[row] = rows, columns
    return {"pixel_values": values, "pixel_attention_mask": mask, "spatial_shapes": shapes}
