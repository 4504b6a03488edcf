"""JSONL: an object a line."""

import json
from collections.abc import Sequence

import numpy as np

from mmjax.data.tables import lines
from mmjax.data.tables.files import File, folder_of
from mmjax.data.tables.table import Row, asked, plain
from mmjax.errors import UserError

_LOOKED_AT = 1000  # rows whose keys are the columns, at the beginning and again all over the file


class JsonLines:
    """The rows of a JSONL file; see Table.

    The columns are the keys of the first thousand rows and of a thousand more, evenly spaced; what
    others have besides is not read.

    Args:
        file: UTF-8.
        cache: see `index.kept`.

    Raises:
        UserError: it is empty, no text, or none of these rows can be read.
    """

    def __init__(self, file: File, cache: str = ""):
        lines.check_text(file)
        if file.read(0, 64).removeprefix(lines.BOM).lstrip()[:1] == b"[":
            raise UserError(
                f"{file.path} is one list in JSON: write one object a line, as jq -c '.[]' does"
            )
        self.name, self._file = file.name, file
        self._lines = lines.find(file, "", cache)
        count = len(self)
        spaced = np.linspace(0, max(count - 1, 0), min(count, _LOOKED_AT)).astype(int)
        rows = dict.fromkeys([*range(min(count, _LOOKED_AT)), *spaced.tolist()])
        keys: dict[str, None] = {}
        first = None
        for index in rows:
            try:
                keys |= dict.fromkeys(self._object(index))
            except UserError as error:
                first = first or error
        if not keys:
            raise first or UserError(f"{file.path} holds no objects: write one a line")
        self.columns = tuple(keys)

    def __len__(self) -> int:
        return len(self._lines)

    def _object(self, index: int) -> dict:
        data = self._file.read(*map(int, self._lines.starts[index : index + 2]))
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(f"{self.where(index)}: no JSON ({said})") from error
        if not isinstance(found, dict):
            raise UserError(
                f"{self.where(index)}: a {type(found).__name__}, not an object: write one object a"
                ' line, such as {"text": "a cat", "label": "cat"}'
            )
        return found

    def read(self, index: int, columns: Sequence[str] | None = None) -> Row:
        """See Table.

        Raises:
            UserError: the line is no JSON object.
        """
        columns = asked(self, index, columns)
        found = self._object(index)
        return {name: plain(found.get(name)) for name in columns}

    def where(self, index: int) -> str:
        """See Table."""
        return f"{self.name}, line {self._lines.line(index)}"

    def folder(self, index: int) -> str:
        """See Table."""
        del index
        return folder_of(self._file.path)
