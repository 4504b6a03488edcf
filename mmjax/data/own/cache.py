"""Decoded files in memory, as long as there is room."""

import threading
from collections.abc import Callable, Hashable
from typing import Any

from mmjax.types import Input

SIZE = 2**30  # bytes, in each process


class Cache:
    """Keeps the first inputs that fit; all others are decoded each time.

    Rows are read in another order every epoch, so what is kept longest would be as good as any.
    Worker processes begin with an empty one.

    Args:
        size: in bytes.
    """

    def __init__(self, size: int = SIZE):
        self._size = self._left = size
        self._kept: dict[Hashable, Input] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, decode: Callable[[], Input]) -> Input:
        """The input of a key, decoded if it is not there; it must not be changed."""
        found = self._kept.get(key)
        if found is None:
            found = decode()
            size = found.value.nbytes + found.mask.nbytes
            with self._lock:
                if key not in self._kept and size <= self._left:
                    self._kept[key] = found
                    self._left -= size
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"size": self._size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)
