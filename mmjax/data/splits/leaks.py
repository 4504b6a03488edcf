"""Files that are in two splits: what is trained on is no test."""

import hashlib
import itertools
import logging
import os
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64

from mmjax.data.tables import media
from mmjax.data.tables.files import is_remote
from mmjax.data.tables.table import Table, spread
from mmjax.errors import UserError

LOOKED_AT = 1000  # rows of each split whose contents are compared
MAX_BYTES = 2**22  # of a file whose content is compared
_logger = logging.getLogger(__name__)


def warn_of_names(
    table: Table,
    column: str,
    splits: Mapping[str, Int64[np.ndarray, " rows"]],
    names: Int64[np.ndarray, " all"],
) -> int:
    """Warns, in a line for each pair of splits, of files that both name; returns how many.

    Args:
        table, column: of the paths.
        splits: rows.
        names: a number for each path of the table, 0 where there is none.
    """
    total = 0
    for one, other in itertools.combinations(splits, 2):
        both = np.intersect1d(names[splits[one]], names[splits[other]])
        both = both[both != 0]
        total += len(both)
        if len(both):
            rows = [int(r[np.argmax(names[r] == both[0])]) for r in (splits[one], splits[other])]
            _warn(table, column, one, other, len(both), rows, "the same files")
    return total


def warn_of_contents(
    table: Table,
    column: str,
    splits: Mapping[str, Int64[np.ndarray, " rows"]],
    root: str = "",
) -> int:
    """Warns of files of equal content in two splits, looking at LOOKED_AT rows of each.

    Large files, those far away and those that cannot be read are left out.
    """
    found: dict[str, dict[bytes, int]] = {}
    for name, rows in splits.items():
        of_split = found.setdefault(name, {})
        for index in rows[spread(len(rows), LOOKED_AT)].tolist():
            digest = _digest(table, column, index, root)
            if digest:
                of_split.setdefault(digest, index)
    total = 0
    for one, other in itertools.combinations(splits, 2):
        both = sorted(found[one].keys() & found[other].keys())
        total += len(both)
        if both:
            rows = [found[one][both[0]], found[other][both[0]]]
            _warn(table, column, one, other, len(both), rows, "files of equal content")
    return total


def _digest(table: Table, column: str, index: int, root: str) -> bytes:
    try:
        value = table.read(index, [column])[column]
        if isinstance(value, np.ndarray):
            data = value.tobytes()
        elif isinstance(value, (str, bytes)):
            data = value if isinstance(value, bytes) else _content(value, table.folder(index), root)
        else:
            return b""
    except (UserError, OSError) as error:
        _logger.debug("%s", error)
        return b""
    return hashlib.blake2b(data, digest_size=16).digest() if data else b""


def _content(value: str, folder: str, root: str) -> bytes:
    """The content of a file on this machine, if it is not too large to be read for this."""
    path = media.resolve(value, folder, root)
    if is_remote(path) or os.path.getsize(path) > MAX_BYTES:
        return b""
    with open(path, "rb") as file:
        return file.read()


def _warn(
    table: Table, column: str, one: str, other: str, count: int, rows: list[int], what: str
) -> None:
    first, second = map(table.where, rows)
    _logger.warning(
        "%r: %d %s are in %s and in %s, first %s and %s: scores will be too good",
        *(column, count, what, one, other, first, second),
    )
