"""The table of kinds of raw input: all that differs between an image, a text, a sound.

A modality has any name and one of these kinds, and a kind may occur several times. To add a kind,
add its record; no other file knows it.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from mmjax.data.pipeline import simple_features as simple
from mmjax.data.pipeline.scaling import Scale
from mmjax.data.readers import by_kind, lengths
from mmjax.factory.tables.encoders import ENCODERS
from mmjax.train import augment
from mmjax.types import Input

Reader = Callable[[Sequence[Any]], Input]


class Wanted(NamedTuple):
    """The input that values of a modality become.

    name: of the modality, for messages.
    example: one row as the model takes it.
    scale: of its features in training, if they are scaled.
    encode: texts -> (ids, mask); None where ids are given.
    images: images -> pixels as a checkpoint's files say; None: resized to the model's size.
    rate: of sounds, in Hz.
    cut: whether what is longer than the example is cut off; else it is an error.
    """

    name: str
    example: Input
    scale: Scale | None
    encode: Callable | None
    images: Callable | None
    rate: int
    cut: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return self.example.value.shape[1:]


class Kind(NamedTuple):
    """A kind of raw input.

    dtype: of its numbers in a batch.
    masked_axes: how many axes of an example its mask has.
    sizes: the names of an example's axes.
    encoders: what encodes it, by name.
    reader: what turns the values that users have into inputs.
    simple: (values, mask) -> features without learning, of which linear models are the baselines.
    usual: keys of config.data that say its shape, and the shape that they say, where
        config.data.shapes does not.
    files: whether a string is the path of a file.
    words: whether it is text, of which a tokenizer makes ids.
    augmentations: by name.
    scaled: whether its features may be scaled by those of training.
    step_axes: how many axes of an example are steps in time, each of which is scaled alike.
    """

    dtype: Any
    masked_axes: int
    sizes: tuple[str, ...]
    encoders: Mapping[str, Callable]
    reader: Callable[[Wanted], Reader]
    simple: Callable[..., Any]
    usual: tuple[str, Callable[[int], tuple[int, ...]]] | None = None
    files: bool = False
    words: bool = False
    augmentations: Mapping[str, Callable] = {}
    scaled: bool = False
    step_axes: int = 0


def _arrays(wanted: Wanted) -> Reader:
    return functools.partial(
        by_kind.read_arrays,
        name=wanted.name,
        shape=wanted.shape,
        dtype=wanted.example.value.dtype,
        masked_axes=wanted.example.mask.ndim - 1,
        scale=wanted.scale,
    )


def _images(wanted: Wanted) -> Reader:
    if wanted.images is not None:
        return functools.partial(by_kind.read_sized, shape=wanted.shape, see=wanted.images)
    return functools.partial(by_kind.read_images, size=wanted.shape[:2])


def _texts(wanted: Wanted) -> Reader:
    if wanted.encode is None:
        return _arrays(wanted)
    return functools.partial(by_kind.read_texts, encode=wanted.encode)


def _sounds(wanted: Wanted) -> Reader:
    return functools.partial(
        lengths.read_sounds,
        name=wanted.name,
        samples=wanted.shape[0],
        rate=wanted.rate,
        cut=wanted.cut,
    )


def _steps(wanted: Wanted) -> Reader:
    return functools.partial(
        lengths.read_steps,
        name=wanted.name,
        shape=wanted.shape,
        dtype=wanted.example.value.dtype,
        scale=wanted.scale,
        cut=wanted.cut,
    )


def _videos(wanted: Wanted) -> Reader:
    return functools.partial(lengths.read_videos, name=wanted.name, shape=wanted.shape)


KINDS: Mapping[str, Kind] = {
    "audio": Kind(
        jnp.float32, 1, ("samples",), ENCODERS["audio"], _sounds, simple.audio, files=True
    ),
    "image": Kind(
        jnp.uint8,
        0,
        ("height", "width", "3"),
        ENCODERS["image"],
        _images,
        simple.image,
        usual=("image_size", lambda size: (size, size, 3)),
        files=True,
        augmentations={
            "flip_horizontal": augment.flip_horizontal,
            "flip_vertical": augment.flip_vertical,
            "shift": augment.shift,
        },
    ),
    "series": Kind(
        jnp.float32,
        1,
        ("steps", "features"),
        ENCODERS["series"],
        _steps,
        simple.series,
        scaled=True,
        step_axes=1,
    ),
    "text": Kind(
        jnp.int32,
        1,
        ("words",),
        ENCODERS["text"],
        _texts,
        simple.text,
        usual=("text_length", lambda length: (length,)),
        words=True,
    ),
    "vector": Kind(
        jnp.float32, 1, ("features",), ENCODERS["vector"], _arrays, simple.vector, scaled=True
    ),
    "video": Kind(
        jnp.uint8,
        1,
        ("frames", "height", "width", "3"),
        ENCODERS["video"],
        _videos,
        simple.video,
        files=True,
    ),
}
AUGMENTATIONS = {name: k.augmentations for name, k in KINDS.items() if k.augmentations}
