"""Stamps and speech as records: written at the first start, then read and decoded."""

import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.data.datasets.tux_paint.stamps import SPLITS, find_folder
from mmjax.data.readers.transforms import decode_image
from mmjax.data.sources.prepared import opened, prepared
from mmjax.data.sources.source import Records, Source

NAME = "tux_paint"


def read_stamps(root: Path, given: str, size: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Of each split and stamp: `image` uint8 [size size 3] and `captions` by language.

    Args:
        root: the data directory.
        given: where the stamps are, if they are to be written; see `stamps.find_folder`.
        size: the side of an image in pixels.

    Raises:
        UserError: see `tux_paint`.
    """
    import tensorflow_datasets as tfds  # half a second that other data sets need not pay

    from mmjax.data.datasets.tux_paint.builder import TuxPaintStamps

    builder = _prepare(root, given, TuxPaintStamps)
    decoders = {
        "stamp": bytes.decode,
        "image": functools.partial(decode_image, size=size),
        "captions": _decode_captions,
    }
    skip = {"image": tfds.decode.SkipDecoding()}
    return {split: _read(builder, split, decoders, skip) for split in SPLITS}


def read_clips(root: Path, given: str, language: str, rate: int) -> dict[str, np.ndarray]:
    """The speech of each stamp in one language, float32 at `rate` Hz; else as `read_stamps`."""
    from mmjax.data.datasets.tux_paint.builder import CLIPS, TuxPaintSpeech

    builder = _prepare(root, given, functools.partial(TuxPaintSpeech, config=language))
    decoders = {"stamp": bytes.decode, "samples": functools.partial(_decode_clip, rate=rate)}
    rows = _read(builder, CLIPS, decoders)
    return {stamp: row["samples"] for stamp, row in rows.items()}


def _prepare(root: Path, given: str, builder: Any) -> Any:
    make = functools.partial(builder, data_dir=root, file_format="array_record")
    if not make().data_path.exists():
        make = functools.partial(make, folder=find_folder(root, given))
    return prepared(make, NAME, megabytes=50)


def _read(
    builder: Any, split: str, decoders: Mapping[str, Any], skip: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """The records by stamp; a broken one is left out, counted and reported."""
    records = Records(opened(builder, split, skip), decoders, cache=False)
    source = Source(f"{builder.data_path} ({split})", records, (), ())
    rows = (source.read(index, decoders) for index in range(len(records)))
    return {row["stamp"]: row for row in rows if row is not None}


def _decode_captions(captions: Mapping[str, Sequence[bytes]]) -> dict[str, str]:
    pairs = zip(captions["language"], captions["caption"], strict=True)
    return {language.decode(): caption.decode() for language, caption in pairs}


def _decode_clip(file: bytes, rate: int) -> np.ndarray:
    import soundfile
    from scipy.signal import resample_poly  # slow to import

    samples, stored = soundfile.read(io.BytesIO(file), dtype="float32")
    return resample_poly(samples, rate, stored).clip(-1, 1)
