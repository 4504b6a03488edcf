"""What becomes of freed memory, on Linux with glibc; elsewhere it is left to the C library."""

import ctypes
import os
import sys
from pathlib import Path

# What mallopt calls them (malloc.h of glibc).
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def keep_freed() -> None:
    """Has the memory of large buffers stay with the process for the next step.

    On CPU XLA allocates and frees its buffers at every step; returned memory would have to be
    mapped and cleared by the system each time, which takes up to half of a step's time. All threads
    share one arena, since the others cannot hold large buffers.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(M_ARENA_MAX, 1)
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, -1)


def return_freed(share: float = 0.25) -> None:
    """Returns freed memory to the system if the process holds more than a share of all there is.

    Kept memory splits: a buffer may not fit where one of its size was, so the process would hold
    more and more of it. To be called from time to time; the next step maps its memory anew.
    """
    library = _glibc()
    if library is not None and resident() > share * os.sysconf("SC_PHYS_PAGES") * _page():
        library.malloc_trim(0)


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _page()


def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE")
