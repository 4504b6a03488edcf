"""What becomes of freed memory, on Linux with glibc; elsewhere it is left to the C library."""

import ctypes
import os
import resource
import sys
from pathlib import Path

# What mallopt calls them (malloc.h of glibc), and madvise (mman.h of Linux).
M_MXFAST, M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = 1, -1, -4, -8
MADV_HUGEPAGE = 14
# Where a container's limit is, by the version of cgroups.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def _glibc() -> ctypes.CDLL | None:
    """The C library, unless it is another than glibc or its malloc was replaced (LD_PRELOAD)."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return None
    # Not `malloc`: its address is in the executable itself if that has a fixed place, as Debian's.
    own = ctypes.CDLL("libc.so.6").malloc_usable_size
    if _address(library.malloc_usable_size) != _address(own):
        return None
    library.malloc.restype = ctypes.c_void_p
    return library


def _address(function) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value


def retain_heap() -> None:
    """Has the memory of large buffers stay with the process for the next step.

    On CPU XLA allocates and frees its buffers at every step; returned memory would have to be
    mapped and cleared by the system each time, which takes up to half of a step's time. All threads
    share one arena, since the others cannot hold large buffers, and no small block is kept apart
    from the large ones around it. The arena has huge pages where the system allows them: 512 times
    fewer of them to map and to look up.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(M_ARENA_MAX, 1)
        library.mallopt(M_MXFAST, 0)
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, -1)
        _use_huge_pages(library)


def _use_huge_pages(library: ctypes.CDLL) -> None:
    """Extends the heap by half of all memory, untouched, and asks for huge pages there."""
    page = os.sysconf("SC_PAGE_SIZE")
    size = limit() // 2
    block = library.malloc(ctypes.c_size_t(size))
    if block:  # not where the size of a process is limited to less
        begin = -(-block // page) * page
        library.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(size - page), MADV_HUGEPAGE)
        library.free(ctypes.c_void_p(block))


def trim_heap(share: float = 0.5) -> None:
    """Returns freed memory to the system if the process holds more than a share of all there is.

    Kept memory splits: a buffer may not fit where one of its size was, so a process may come to
    hold several times what it needs. To be called from time to time; the next step maps its memory
    anew.
    """
    library = _glibc()
    if library is not None and resident() > share * limit():
        library.malloc_trim(0)
        _use_huge_pages(library)


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def limit() -> int:
    """Bytes of memory that this process may hold: the machine's, its container's or its own."""
    limits = [path.read_text().strip() for path in map(Path, LIMITS) if path.exists()]
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    own, _ = resource.getrlimit(resource.RLIMIT_AS)
    known = [int(text) for text in limits if text != "max"]
    return min([machine, *known, *([own] if own != resource.RLIM_INFINITY else [])])
