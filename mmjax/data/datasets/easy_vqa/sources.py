"""The splits of easy-VQA as sources: written as ArrayRecord at the first start, then only read."""

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.data.readers.transforms import decode_image
from mmjax.data.sources.prepared import opened, prepared
from mmjax.data.sources.source import Records, Source
from mmjax.errors import UserError

NAME = "easy_vqa"
SPLITS = ("train", "validation", "test")


def easy_vqa(
    *,
    dir: str,  # noqa: A002
    seed: int = 0,
    image_size: int = 64,
    cache: bool = True,
) -> dict[str, Source]:
    """Gives the splits `train` (3,600 images), `validation` (400) and `test` (1,000).

    Args:
        dir: the data directory, "~" for the home; 4 MB of records are written below it once.
        seed: as for every data set; these images are fixed, so it changes nothing.
        image_size: the side of an image in pixels; the files have 64, others are resized.
        cache: keep records and decoded images in memory (up to 80 MB).

    Raises:
        UserError: the package easy_vqa is missing, or `dir` cannot be written or is damaged.
    """
    del seed
    if importlib.util.find_spec("easy_vqa") is None:
        raise UserError(f"data set {NAME}: its package is not installed; run: pip install easy-vqa")
    import tensorflow_datasets as tfds  # half a second that other data sets need not pay

    from mmjax.data.datasets.easy_vqa.builder import EasyVqa

    make = functools.partial(EasyVqa, data_dir=Path(dir).expanduser(), file_format="array_record")
    builder = prepared(make, NAME, megabytes=5)
    decode = functools.partial(decode_image, size=image_size)
    decoders = {"image": decode, "image_id": int, "questions": _decode_questions}
    skip = {"image": tfds.decode.SkipDecoding()}
    sources = {}
    for split in SPLITS:
        raw = opened(builder, split, skip)
        sources[split] = Source(
            name=f"{NAME}/{split}",
            records=Records(raw, decoders, cache=cache),
            class_names=tuple(builder.info.features["questions"]["answer"].names),
            slices=tuple(builder.info.features["questions"]["type"].names),
        )
    return sources


def _decode_questions(questions: Mapping[str, Sequence]) -> dict[str, Any]:
    return {
        "question": tuple(text.decode("utf-8") for text in questions["question"]),
        "answer": np.array(questions["answer"], np.int32),
        "type": np.array(questions["type"], np.int32),
    }
