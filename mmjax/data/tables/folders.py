"""Folders of files: a folder for each class, perhaps below one for each split."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmjax.data.tables import media
from mmjax.data.tables.strings import Strings
from mmjax.data.tables.table import FILE, LABEL, SPLIT, SPLIT_NAMES, Row, asked
from mmjax.errors import UserError

MANY, SHARE = 10_000, 0.01  # of so many files a share at least are pictures, sounds or videos
_ENDINGS = tuple(itertools.chain(*media.ENDINGS.values()))


class Folders:
    """The files below some folders; see Table.

    Columns are `file` (its path), `label` (the folder below the root: "cat", or "animals/cat") and
    `split`, if the folders below the root are called train, validation (val, dev) or test. Of
    several roots without folders in them each is a class. Files are in the order of their paths;
    hidden ones (.DS_Store) are none.

    Args:
        roots: folders on this machine.

    Raises:
        UserError: one is no folder, or there are no files.
    """

    def __init__(self, roots: Sequence[str]):
        paths, labels, splits = [], [], []
        for root in roots:
            if not Path(root).is_dir():
                raise UserError(f"{root} is no folder: give folders only, or files only")
            found = list(_files(root))
            inner = {parts[0] for parts, _ in found if parts}
            has_splits = bool(inner) and all(name.lower() in SPLIT_NAMES for name in inner)
            for parts, path in found:
                splits.append(SPLIT_NAMES[parts[0].lower()] if has_splits and parts else "")
                parts = parts[1:] if has_splits else parts
                own = Path(root).absolute().name if len(roots) > 1 else ""
                labels.append("/".join(parts) or own)
                paths.append(path)
        if not paths:
            raise UserError(f"{', '.join(map(str, roots))}: no files there; check the path")
        self.name = str(roots[0]) if len(roots) == 1 else f"{roots[0]} and {len(roots) - 1} more"
        self.columns = (FILE, *([LABEL] * any(labels)), *([SPLIT] * any(splits)))
        self._paths = Strings(paths)
        self._names, numbers = np.unique(np.array([labels, splits]), return_inverse=True)
        self._labels, self._splits = numbers.reshape(2, -1).astype(np.int32)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int, columns: Sequence[str] | None = None) -> Row:
        """See Table."""
        columns = asked(self, index, columns)
        row = {
            FILE: self._paths[index],
            LABEL: str(self._names[self._labels[index]]) or None,
            SPLIT: str(self._names[self._splits[index]]) or None,
        }
        return {name: row[name] for name in columns}

    def where(self, index: int) -> str:
        """See Table."""
        return self._paths[index]

    def folder(self, index: int) -> str:
        """See Table: paths are whole here."""
        del index
        return ""


def _files(root: str) -> list[tuple[tuple[str, ...], str]]:
    """The folders below the root, and the path of each file in them."""
    found, walked, known = [], set(), False
    for folder, inner, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in walked:  # a link to a folder that it lies in
            inner.clear()
            continue
        walked.add(real)
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        parts = Path(folder).relative_to(root).parts
        found += [
            (parts, os.path.join(folder, name))
            for name in sorted(names)
            if not name.startswith(".")
        ]
        if not known and len(found) > MANY:
            count = sum(path.lower().endswith(_ENDINGS) for _, path in found)
            known = count >= SHARE * len(found)
            if not known:
                raise UserError(
                    f"{root}: of its first {len(found):,} files {count} are pictures, sounds or"
                    " videos: check the path"
                )
    return found
