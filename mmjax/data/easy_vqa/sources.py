"""The splits of easy-VQA as sources: written as ArrayRecord at the first start, then only read."""

import contextlib
import errno
import functools
import importlib.util
import io
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.data.source import RandomAccess, Records, Source
from mmjax.data.transforms import decode_image
from mmjax.types import UserError

NAME = "easy_vqa"
SPLITS = ("train", "validation", "test")

# ArrayRecord's writer raises RuntimeError with the system's text in it, not OSError.
_WRITING_FAILED = tuple(
    os.strerror(code)
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO)
)

_logger = logging.getLogger(__name__)


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

    builder = _prepare(Path(dir).expanduser())
    decode = functools.partial(decode_image, size=image_size)
    decoders = {"image": decode, "image_id": int, "questions": _decode_questions}
    skip = {"image": tfds.decode.SkipDecoding()}
    sources = {}
    for split in SPLITS:
        try:
            raw = builder.as_data_source(split, decoders=skip)
            _probe(raw)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            place = f"data set {NAME}: {builder.data_path} is damaged ({split}: {error})"
            raise UserError(f"{place}; delete that directory and start again") from error
        sources[split] = Source(
            name=f"{NAME}/{split}",
            records=Records(raw, decoders, cache=cache),
            answers=tuple(builder.info.features["questions"]["answer"].names),
            groups=tuple(builder.info.features["questions"]["type"].names),
        )
    return sources


def _prepare(root: Path) -> Any:
    """Returns the TFDS builder of the records below `root`, which it writes if they are missing."""
    import tensorflow_datasets as tfds

    from mmjax.data.easy_vqa.builder import EasyVqa

    builder = EasyVqa(data_dir=root, file_format="array_record")
    if builder.data_path.exists():
        return builder
    _logger.info("writing easy-VQA to %s", builder.data_path)
    tfds.disable_progress_bar()
    try:
        # TFDS prints sizes that it does not know. It writes to a directory of another name and
        # renames that when all is written, so a build that stops half way is never taken for one.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    except FileExistsError:
        if not builder.data_path.exists():
            raise
        return EasyVqa(data_dir=root, file_format="array_record")  # another process was quicker
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or _system_text(error)
        if reason is None:
            raise
        raise UserError(
            f"data directory {root}: cannot write {NAME} there ({reason}); free 5 MB or pass a "
            f"directory that can be written with --config.data.dir=..."
        ) from error
    return builder


def _system_text(error: Exception) -> str | None:
    return next((text for text in _WRITING_FAILED if text in str(error)), None)


def _probe(raw: RandomAccess) -> None:
    """Raises when neither end of a split can be read: then its file is missing or cut."""
    try:
        raw[0]
    except RuntimeError:
        raw[len(raw) - 1]


def _decode_questions(questions: Mapping[str, Sequence]) -> dict[str, Any]:
    return {
        "question": tuple(text.decode("utf-8") for text in questions["question"]),
        "answer": np.array(questions["answer"], np.int32),
        "type": np.array(questions["type"], np.int32),
    }
