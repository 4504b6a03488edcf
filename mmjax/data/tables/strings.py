"""Many strings in two buffers: a list of a million paths takes four times as much."""

from collections.abc import Iterable, Sequence

import numpy as np


class Strings(Sequence):
    """Strings that do not change."""

    def __init__(self, texts: Iterable[str]):
        parts = [text.encode(errors="surrogateescape") for text in texts]
        self._ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        self._data = b"".join(parts)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        start, stop = self._ends[index : index + 2]
        return self._data[start:stop].decode(errors="surrogateescape")
