"""The splits of easy-VQA as sources: written as ArrayRecord at the first start, then only read."""

import contextlib
import functools
import importlib.util
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.data.source import Records, Source
from mmjax.data.transforms import decode_image
from mmjax.types import UserError

SPLITS = ("train", "validation", "test")

_logger = logging.getLogger(__name__)


def easy_vqa(*, dir: str, seed: int = 0, cache: bool = True) -> dict[str, Source]:
    """Gives the splits `train` (3,600 images), `validation` (400) and `test` (1,000).

    Args:
        dir: the data directory, "~" for the home; the records are written below it once (4 MB).
        seed: as for every data set; these images are fixed, so it changes nothing.
        cache: keep records and decoded images in memory (at most 70 MB).

    Raises:
        UserError: the package easy_vqa is missing, or `dir` cannot be written or is damaged.
    """
    del seed
    if importlib.util.find_spec("easy_vqa") is None:
        raise UserError("data set easy_vqa: the package is not installed; run pip install easy-vqa")
    root = Path(dir).expanduser()
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints sizes that it does not know
        builder = _prepare(root)
    try:
        import tensorflow_datasets as tfds

        skip = {"image": tfds.decode.SkipDecoding()}
        raw = {split: builder.as_data_source(split, decoders=skip) for split in SPLITS}
        for records in raw.values():
            records[0]  # a missing or cut file is only noticed at the first read
    except Exception as error:
        message = f"data set easy_vqa: {builder.data_path} is damaged ({error}); delete it and start again"
        raise UserError(message) from error
