"""What suits few rows and what suits many: the table that automatic configs are read from.

Small data are soon learned by heart, so a model of them adds up what each modality says (the fusion
`sum`, as a linear model does), and smooths labels.
"""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.own.inputs import Wanted
from mmjax.data.readers import sides
from mmjax.data.readers.lengths import seconds_of
from mmjax.errors import UserError
from mmjax.factory.tables.names import SAMPLE_RATE

MAX_WORDS, MAX_SECONDS, MAX_STEPS = 64, 10.0, 512  # of one example
IMAGE_SIZE, MIN_SIDE, FRAMES = 64, 16, 8
_logger = logging.getLogger(__name__)


class Size(NamedTuple):
    """What suits data of fewer than so many rows of training.

    below: rows.
    epochs: passes over the rows.
    width: D of tokens and fused vectors.
    fusion, text, audio: parts of a config.
    dropout: of encoders.
    label_smoothing: of the cross-entropy.
    weight_decay: of AdamW.
    """

    below: float
    epochs: int
    width: int
    fusion: Mapping[str, Any]
    text: Mapping[str, Any]
    audio: Mapping[str, Any]
    dropout: float
    label_smoothing: float
    weight_decay: float


_WORDS = {"name": "bag_of_words", "layers": 1}
_SENTENCES = {"name": "transformer", "layers": 2, "dropout": 0.1}
_SUM = {"name": "sum", "dropout": 0.2}
_TRANSFORMER = {"name": "transformer", "layers": 2, "dropout": 0.1}
_CONVOLUTIONS = {"name": "autoencoder", "channels": (64, 64, 64)}  # its encoder: three of stride 2
_RESNET = {"name": "resnet", "norm": "group"}
SIZES = (
    Size(5_000, 40, 64, _SUM, _WORDS, _CONVOLUTIONS, 0.1, 0.1, 0.05),
    Size(100_000, 15, 128, _TRANSFORMER, _SENTENCES, _RESNET, 0.1, 0.0, 0.05),
    Size(math.inf, 4, 128, _TRANSFORMER, _SENTENCES, _RESNET, 0.1, 0.0, 0.05),
)


def size_of(rows: int) -> Size:
    """The first entry of SIZES that is for so many rows."""
    return next(size for size in SIZES if rows < size.below)


class Seen(NamedTuple):
    """A modality, some of its values in training, and what suits as many rows as there are."""

    wanted: Wanted
    values: list[Any]
    size: Size


class Choice(NamedTuple):
    """An encoder of a config, and the shape of one example; () where config.data says it."""

    encoder: dict[str, Any]
    shape: tuple[int, ...] = ()


def _measured(measure: Callable[[Any], Any], values: list[Any], default: Any) -> list[Any]:
    """Of each value that can be read; what cannot is counted when it is used."""
    found = []
    for value in values:
        try:
            found.append(measure(value))
        except UserError as error:
            _logger.debug("%s", error)
    return found or [default]


def _side(measure: Callable[[Any], int], seen: Seen) -> int:
    """A multiple of MIN_SIDE pixels, which small pictures are not made larger than."""
    side = np.percentile(_measured(measure, seen.values, IMAGE_SIZE), 75)
    return int(np.clip(MIN_SIDE * math.ceil(side / MIN_SIDE), MIN_SIDE, IMAGE_SIZE))


def _audio(seen: Seen) -> Choice:
    lengths = _measured(lambda value: seconds_of(value, SAMPLE_RATE), seen.values, 1.0)
    seconds = min(float(np.percentile(lengths, 95)), MAX_SECONDS)
    encoder = dict(seen.size.audio) | {"dropout": seen.size.dropout}
    return Choice(encoder, (max(math.ceil(seconds * 10), 4) * SAMPLE_RATE // 10,))


def _image(seen: Seen) -> Choice:
    shape = {"patch_size": 4, "channels": (64, 128), "output": "grid"}
    side = _side(sides.of_image, seen)
    size = () if side == IMAGE_SIZE else (side, side, 3)
    return Choice({"name": "cnn", **shape, "dropout": seen.size.dropout}, size)


def _series(seen: Seen) -> Choice:
    steps, features = seen.wanted.shape
    steps = min(steps, MAX_STEPS)
    shape = {"patch": max(1, steps // 32), "layers": 2}
    return Choice({"name": "transformer", **shape, "dropout": seen.size.dropout}, (steps, features))


def _text(seen: Seen) -> Choice:
    counts = [len(text.split()) + 2 for text in seen.values] or [8]
    length = int(np.clip(np.percentile(counts, 95), 4, MAX_WORDS))
    return Choice(dict(seen.size.text), (length,))


def _vector(seen: Seen) -> Choice:
    encoder = {"name": "mlp", "hidden": (128,), "dropout": seen.size.dropout}
    return Choice(encoder, seen.wanted.shape)


def _video(seen: Seen) -> Choice:
    frame = {"patch_size": 4, "channels": (32, 64)}
    encoder = {"name": "frames", "frame_options": frame, "dropout": seen.size.dropout}
    side = _side(sides.of_video, seen)
    return Choice(encoder, (FRAMES, side, side, 3))


# Of a kind of input, the encoder that suits it.
CHOICES: Mapping[str, Callable[[Seen], Choice]] = {
    "audio": _audio,
    "image": _image,
    "series": _series,
    "text": _text,
    "vector": _vector,
    "video": _video,
}
