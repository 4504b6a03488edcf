"""Procedurally drawn data of the same form as easy-VQA: no download, no disk.

One coloured shape on a pale background, with the questions of easy-VQA, each asked with about the
frequency that it has there (counted over the 38,575 training questions): an open question about an
image in 32 % of the cases where it can be asked, a yes/no question in 8 %.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
from jaxtyping import UInt8

from mmjax.data.sources.source import Records, Source

SHAPES = ("circle", "rectangle", "triangle")
COLORS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "brown": (165, 42, 42),
    "gray": (128, 128, 128),
    "green": (0, 128, 0),
    "red": (255, 0, 0),
    "teal": (0, 128, 128),
    "yellow": (255, 255, 0),
}
ANSWERS = (*SHAPES, *COLORS, "yes", "no")
TYPES = ("yes_no", "color", "shape")
SPLITS = ("train", "validation", "test")

_OPEN_FREQUENCY, _CLOSED_FREQUENCY = 0.32, 0.08
_SCALE = 4  # drawn this many times larger and averaged, for smooth edges
_SIDE = (0.15, 0.5)  # of a shape, as a share of the side of the image
_PALE = 230  # the darkest value of a background

_ASK_COLOR = (
    "what color is the {shape}?",
    "what color is the shape?",
    "what is the color of the {shape}?",
    "what is the color of the shape?",
)
_ASK_SHAPE = (
    "what is the {color} shape?",
    "what shape does the image contain?",
    "what shape is in the image?",
    "what shape is present?",
)
_AFFIRM = (
    "does the image contain a {thing}?",
    "is a {thing} present?",
    "is there a {thing} in the image?",
    "is there a {thing}?",
)
_DENY = (
    "does the image not contain a {thing}?",
    "is no {thing} present?",
    "is there not a {thing} in the image?",
    "is there not a {thing}?",
)
# Everything that may be asked about: what it is called, and the shape or color that it means.
_THINGS = tuple((shape, shape) for shape in SHAPES) + tuple((f"{c} shape", c) for c in COLORS)


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What is in an image; corners are shares of its side, the background is RGB."""

    shape: str
    color: str
    corners: tuple[float, float, float, float]  # left, top, right, bottom
    background: tuple[int, int, int]


def draw(drawing: Drawing, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Draws `drawing` on `size` x `size` pixels."""
    side = size * _SCALE
    image = PIL.Image.new("RGB", (side, side), drawing.background)
    left, top, right, bottom = (round(corner * side) for corner in drawing.corners)
    canvas, color = PIL.ImageDraw.Draw(image), COLORS[drawing.color]
    strokes = {
        "circle": lambda: canvas.ellipse((left, top, right, bottom), color),
        "rectangle": lambda: canvas.rectangle((left, top, right, bottom), color),
        "triangle": lambda: canvas.polygon(
            ((left, bottom), (right, bottom), ((left + right) // 2, top)), color
        ),
    }
    strokes[drawing.shape]()
    return np.asarray(image.resize((size, size), PIL.Image.Resampling.BOX))


class _Raw(Sequence):
    """Drawings and questions, each a function of (seed, split, index) and nothing else."""

    def __init__(self, seed: int, split: str, length: int):
        self._key, self._length = (seed, SPLITS.index(split)), length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        rng = np.random.default_rng((*self._key, index))
        drawing = _sample_drawing(rng)
        return {"image": drawing, "image_id": index, "questions": _sample_questions(drawing, rng)}


def _sample_drawing(rng: np.random.Generator) -> Drawing:
    shape = SHAPES[rng.integers(len(SHAPES))]
    color = tuple(COLORS)[rng.integers(len(COLORS))]
    width, height = rng.uniform(*_SIDE, size=2)
    if shape == "circle":
        height = width
    left, top = rng.uniform(0, (1 - width, 1 - height))
    background = tuple(rng.integers(_PALE, 256, size=3).tolist())
    return Drawing(shape, color, (left, top, left + width, top + height), background)


def _sample_questions(drawing: Drawing, rng: np.random.Generator) -> dict[str, Any]:
    shape, color = drawing.shape, drawing.color
    ways = [(text, color, "color", _OPEN_FREQUENCY) for text in _ASK_COLOR]
    ways += [(text, shape, "shape", _OPEN_FREQUENCY) for text in _ASK_SHAPE]
    asked = [(text.format(shape=shape, color=color), *rest) for text, *rest in ways]
    for name, meaning in _THINGS:
        there = ("no", "yes")[meaning in (shape, color)]
        absent = ("yes", "no")[meaning in (shape, color)]
        closed = [(text, there) for text in _AFFIRM] + [(text, absent) for text in _DENY]
        asked += [(t.format(thing=name), a, "yes_no", _CLOSED_FREQUENCY) for t, a in closed]
    frequencies = np.array([frequency for *_, frequency in asked])
    chosen = np.flatnonzero(rng.random(len(asked)) < frequencies)
    if not len(chosen):
        chosen = rng.integers(len(asked), size=1)
    kept = [asked[index] for index in chosen]
    return {
        "question": tuple(text for text, *_ in kept),
        "answer": np.array([ANSWERS.index(answer) for _, answer, *_ in kept], np.int32),
        "type": np.array([TYPES.index(kind) for *_, kind, _ in kept], np.int32),
    }


def shapes(
    *,
    dir: str = "",  # noqa: A002
    seed: int = 0,
    train: int = 512,
    validation: int = 64,
    test: int = 64,
    image_size: int = 32,
    cache: bool = True,
) -> dict[str, Source]:
    """Gives the splits `train`, `validation` and `test` of so many images.

    Args:
        dir: as for every data set; nothing is read or written, so it may be empty.
        seed: another seed gives other images and questions.
        train, validation, test: the number of images of each split.
        image_size: the side of an image in pixels.
        cache: keep drawn images in memory.
    """
    del dir
    decoders = {
        "image": _Draw(image_size),
        "image_id": _as_is,
        "questions": _as_is,
    }
    lengths = dict(zip(SPLITS, (train, validation, test), strict=True))
    return {
        split: Source(
            name=f"shapes/{split}",
            records=Records(_Raw(seed, split, length), decoders, cache=cache),
            class_names=ANSWERS,
            slices=TYPES,
        )
        for split, length in lengths.items()
    }


@dataclasses.dataclass(frozen=True)
class _Draw:
    size: int

    def __call__(self, drawing: Drawing) -> np.ndarray:
        return draw(drawing, self.size)


def _as_is(value: Any) -> Any:
    return value
