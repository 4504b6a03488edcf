"""Tar shards as WebDataset writes them: members of one name and several endings are a sample.

The index of a shard is made by one pass over its headers; then any sample is read by its place.
Rows in their order are a sequential pass.
"""

import io
import json
import logging
import tarfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmjax.data.tables.files import File, folder_of
from mmjax.data.tables.index import Index, kept
from mmjax.data.tables.table import Row, asked, plain
from mmjax.errors import UserError

KEY = "__key__"
TEXTS = ("txt", "text", "cls", "cls2", "index", "id", "caption")
JSON = "json"
ABSENT, CUT = -1, -2  # in place of sizes
_LOOKED_AT = 100  # samples whose JSON members are looked at for their keys
_logger = logging.getLogger(__name__)


class Shard:
    """The samples of a tar file; see Table.

    Columns are the endings ("jpg", "cls"), and `__key__`; of "json" each key is a column such as
    "json.caption". Texts are strings, arrays (npy) numpy arrays, all else bytes.

    A tar that is cut short keeps its whole samples; where it ends is one broken row.

    Args:
        file: a tar, not compressed.
        cache: see `index.kept`.

    Raises:
        UserError: it is no tar, or has no samples.
    """

    def __init__(self, file: File, cache: str = ""):
        self.name, self._file = file.name, file
        found = kept(cache, file, "tar", lambda: _find(file))
        self._endings = tuple(str(name) for name in found["endings"])
        self._offsets, self._sizes = found["offsets"], found["sizes"]
        self._headers = found["headers"]
        if not len(self):
            raise UserError(f"{file.path} has no samples: write members such as 000.jpg, 000.txt")
        keys: dict[str, None] = {}
        if JSON in self._endings:
            for index in range(min(len(self), _LOOKED_AT)):
                try:
                    keys |= dict.fromkeys(self._json(index))
                except UserError as error:
                    _logger.debug("%s", error)  # it is counted when the row is read
        self._keys = {f"{JSON}.{key}": key for key in keys}
        self.columns = (
            KEY,
            *(name for name in self._endings if name != JSON or not keys),
            *self._keys,
        )
        cut = int((self._sizes == CUT).any(axis=1).sum())
        if cut:
            _logger.warning("%s is cut short or damaged after %d samples", file.path, len(self) - 1)

    def __len__(self) -> int:
        return len(self._headers)

    def _bytes(self, index: int, ending: str) -> bytes | None:
        place = self._endings.index(ending)
        offset, size = int(self._offsets[index, place]), int(self._sizes[index, place])
        return None if size == ABSENT else self._file.read(offset, offset + size)

    def _json(self, index: int) -> dict[str, Any]:
        data = self._bytes(index, JSON)
        try:
            found = {} if data is None else json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.where(index)}: no JSON ({error})") from error
        return found if isinstance(found, dict) else {}

    def read(self, index: int, columns: Sequence[str] | None = None) -> Row:
        """See Table.

        Raises:
            UserError: the shard is cut here, or a text, array or JSON is none.
        """
        columns = asked(self, index, columns)
        if (self._sizes[index] == CUT).any():
            raise UserError(f"{self.where(index)}: {self._file.path} is cut short here; restore it")
        row: Row = {}
        keys = self._json(index) if any(name in self._keys for name in columns) else {}
        for name in columns:
            if name == KEY:
                row[name] = self._key(index)
            elif name in self._keys:
                row[name] = plain(keys.get(self._keys[name]))
            else:
                row[name] = self._cell(index, name)
        return row

    def _cell(self, index: int, ending: str) -> Any:
        data = self._bytes(index, ending)
        if data is None:
            return None
        try:
            if ending in TEXTS:
                return data.decode("utf-8-sig").strip() or None
            if ending == "npy":
                return np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise UserError(f"{self.where(index)}: {ending} cannot be read ({error})") from error
        return data

    def _key(self, index: int) -> str:
        if self._headers[index] < 0:
            return "at its end"
        with self._file.open() as opened:
            opened.seek(int(self._headers[index]))
            with tarfile.open(fileobj=opened, mode="r:") as tar:
                member = tar.next()
        return _parts(member.name)[0] if member is not None else ""

    def where(self, index: int) -> str:
        """See Table."""
        return f"{self.name}, sample {self._key(index)}"

    def folder(self, index: int) -> str:
        """See Table."""
        del index
        return folder_of(self._file.path)


def _parts(name: str) -> tuple[str, str]:
    """What the members of a sample share, and the ending of this one."""
    folder, slash, last = name.rpartition("/")
    stem, _, ending = last.partition(".")
    return folder + slash + stem, ending.lower()


def _find(file: File) -> Index:
    """The headers, and the place and size of each member, by sample and ending."""
    rows: dict[str, dict[str, tuple[int, int]]] = {}
    headers: list[int] = []
    end, reason = 0, ""
    with file.open() as opened:
        try:
            tar = tarfile.open(fileobj=opened, mode="r:")  # noqa: SIM115
        except tarfile.TarError as error:
            raise UserError(f"{file.path} is no tar file ({error}); restore it") from error
        try:
            while (member := tar.next()) is not None:
                tar.members = []  # or it would keep them all
                end = member.offset_data + -(-member.size // 512) * 512
                key, ending = _parts(member.name)
                if not member.isfile() or not ending or key.rpartition("/")[2] == "":
                    continue
                if key not in rows:
                    headers.append(member.offset)
                whole = member.offset_data + member.size <= file.size
                rows.setdefault(key, {})[ending] = (
                    member.offset_data,
                    member.size if whole else CUT,
                )
        except tarfile.TarError as error:
            reason = str(error)
    rest = file.read(end, end + 1024)
    if end <= file.size and (reason or rest.strip(b"\0")) and rows:
        rows["\0"] = {}  # what follows is lost
        headers.append(-1)
    elif not rest and end <= file.size:
        _logger.warning("%s has no end mark: perhaps it is cut short", file.path)
    endings = tuple(dict.fromkeys(ending for row in rows.values() for ending in row))
    offsets = np.zeros((len(rows), max(len(endings), 1)), np.int64)
    sizes = np.full_like(offsets, ABSENT)
    columns = {ending: column for column, ending in enumerate(endings)}
    for i, (key, row) in enumerate(rows.items()):
        if key == "\0":
            sizes[i] = CUT
        for ending, (offset, size) in row.items():
            offsets[i, columns[ending]], sizes[i, columns[ending]] = offset, size
    return {
        "endings": np.array(endings, dtype=str),
        "offsets": offsets,
        "sizes": sizes,
        "headers": np.array(headers, np.int64),
    }
