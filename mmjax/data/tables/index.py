"""Where the rows of a file are: found once, and kept beside other prepared data."""

import hashlib
import logging
import os
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmjax.data.tables.files import File

_VERSION = 1  # of what is kept: another one is not read
_logger = logging.getLogger(__name__)
Index = dict[str, np.ndarray]


def kept(cache: str, file: File, kind: str, make: Callable[[], Index]) -> Index:
    """The index of a file: read where it was kept, else made, and kept if that can be.

    A file of another size or time has another index, so shards may change between two starts.

    Args:
        cache: a folder; "" to keep nothing.
        file: that the index is of.
        kind: what else the index depends on, such as the separator.
        make: makes it.
    """
    if not cache:
        return make()
    place = file.path if "://" in file.path else os.path.abspath(file.path)
    key = repr((_VERSION, place, file.size, file.stamp, kind))
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    path = Path(cache).expanduser() / "indices" / f"{digest}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        _logger.warning("%s is damaged (%s); the index of %s is made anew", path, error, file.path)
    found = make()
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as opened:
            np.savez(opened, **found)
        part.replace(path)
    except OSError as error:  # it is made again at the next start
        _logger.warning("%s: cannot keep the index of %s there (%s)", cache, file.path, error)
        if part.exists():
            part.unlink()
    return found
