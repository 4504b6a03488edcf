"""Records that a TFDS builder writes as ArrayRecord at the first start; later they are only read.

Nothing here knows what the records are.
"""

import contextlib
import errno
import io
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from mmjax.data.sources.source import RandomAccess
from mmjax.errors import UserError

# ArrayRecord's writer raises RuntimeError with the system's text in it, not OSError.
_WRITING_FAILED = tuple(
    os.strerror(code)
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO)
)

_logger = logging.getLogger(__name__)


def prepared(make: Callable[[], Any], name: str, megabytes: int) -> Any:
    """The TFDS builder that `make` makes; its records are written if they are missing.

    Args:
        make: makes the builder anew.
        name: of the data set, for messages.
        megabytes: what is to be free on the disk.

    Raises:
        UserError: the records cannot be written.
    """
    import tensorflow_datasets as tfds

    builder = make()
    if builder.data_path.exists():
        return builder
    _logger.info("writing %s to %s", name, builder.data_path)
    tfds.disable_progress_bar()
    try:
        # TFDS prints sizes that it does not know. It writes to a directory of another name and
        # renames that when all is written, so a build that stops half way is never taken for one.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    except FileExistsError:
        if not builder.data_path.exists():
            raise
        return make()  # another process was quicker
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or _system_text(error)
        if reason is None:
            raise
        raise UserError(
            f"data directory {builder.data_path}: cannot write {name} there ({reason}); free"
            f" {megabytes} MB or pass a directory that can be written with --config.data.dir=..."
        ) from error
    return builder


def opened(builder: Any, split: str, decoders: Mapping[str, Any] | None = None) -> RandomAccess:
    """The records of one split, undecoded where `decoders` says so.

    Raises:
        UserError: its files are missing or cut.
    """
    try:
        raw = builder.as_data_source(split, decoders=decoders)
        if len(raw):
            _probe(raw)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        place = f"{builder.data_path} is damaged ({split}: {error})"
        raise UserError(f"{place}; delete that directory and start again") from error
    return raw


def _system_text(error: Exception) -> str | None:
    return next((text for text in _WRITING_FAILED if text in str(error)), None)


def _probe(raw: RandomAccess) -> None:
    """Raises when neither end of a split can be read: then its file is missing or cut."""
    try:
        raw[0]
    except RuntimeError:
        raw[len(raw) - 1]
