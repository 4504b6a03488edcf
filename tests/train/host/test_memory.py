"""What a process does with freed memory: keeps it, but not too much of it."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmjax.train.host import memory

linux = pytest.mark.skipif(sys.platform != "linux", reason="only glibc can keep freed memory")

# What is loaded is the file alone: not every Python of a machine has jax.
LOAD = f"""
import re
import resource
import sys
import threading
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

spec = spec_from_file_location("memory", {memory.__file__!r})
memory = module_from_spec(spec)
spec.loader.exec_module(memory)
memory.retain_heap()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
"""

# Page faults while a buffer of 200 MB is made and freed ten times: the first time is not counted.
FAULTS = """
def use():
    b"1" * 200_000_000

def count():
    use()
    before = faults()
    for _ in range(10):
        use()
    print(faults() - before)

count()
thread = threading.Thread(target=count)  # as XLA does it
thread.start()
thread.join()
"""

# Megabytes: what a freed buffer of 400 MB leaves, after no return and after one.
HELD = """
begun = memory.resident()
buffer = b"1" * 400_000_000
behind = bytes(100_000)  # the buffer is not the last of the heap
del buffer
for share in map(float, sys.argv[1:]):
    memory.trim_heap(share)
    print((memory.resident() - begun) // 10**6)
"""

# Mapped pages, and megabytes in huge ones, after 100 MB were touched.
HUGE = """
before = faults()
buffer = b"1" * 100_000_000
print(faults() - before)
sizes = re.findall(r"AnonHugePages: +(\\d+) kB", Path("/proc/self/smaps").read_text())
print(sum(map(int, sizes)) // 1000)
"""

# Blocks that the C library keeps apart after a thousand of 40 bytes were freed.
SMALL = """
import ctypes

class Counts(ctypes.Structure):
    _fields_ = [(f"count{n}", ctypes.c_int) for n in range(10)]

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.mallinfo.restype = Counts
blocks = [ctypes.c_void_p(library.malloc(40)) for _ in range(1000)]
for block in blocks:
    library.free(block)
print(library.mallinfo().count2)
"""
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
SYSTEM = "/usr/bin/python3.11"  # Debian's lies at a fixed address, most others do not


@pytest.fixture(params=[sys.executable, SYSTEM], ids=["this", "system"])
def numbers(request):
    """Runs code and gives the numbers that it prints."""
    if not Path(request.param).exists():
        pytest.skip(f"this system has no {request.param}")

    def run(code, *arguments):
        command = [request.param, "-c", LOAD + code, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        return [int(line) for line in done.stdout.split()]

    return run


@linux
def test_freed_memory_stays_with_the_process(numbers):
    assert [faults < 1000 for faults in numbers(FAULTS)] == [True, True]


@linux
def test_freed_memory_is_returned_above_a_share_of_all_memory(numbers):
    # 400 MB and what Python holds are less than all memory, and more than a thousandth.
    kept, left = numbers(HELD, "1.0", "0.001")
    assert kept > 390
    assert left < 50


@linux
@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(),
    reason="this system has no huge pages",
)
def test_large_buffers_lie_in_huge_pages(numbers):
    faults, megabytes = numbers(HUGE)
    assert faults < 5000  # 24,414 of 4 kB
    assert megabytes > 80


@linux
def test_no_small_blocks_are_kept_apart_from_large_ones(numbers):
    assert numbers(SMALL) == [0]


@linux
def test_another_malloc_is_left_alone(monkeypatch):
    glibc = ctypes.CDLL("libc.so.6")
    other = SimpleNamespace(gnu_get_libc_version=None, mallopt=None, malloc_usable_size=glibc.free)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: glibc if name else other)
    memory.retain_heap()  # calls nothing of the other: None cannot be called
    memory.trim_heap(0.0)


@pytest.mark.parametrize(
    ("text", "limit"),
    [("1000000", 10**6), ("max", 0), ("9223372036854771712", 0), (None, 0)],
)
def test_a_container_limits_the_memory(tmp_path, monkeypatch, text, limit):
    files = [tmp_path / "memory.max", tmp_path / "limit_in_bytes"]
    if text:
        files[0].write_text(text + "\n")
    monkeypatch.setattr(memory, "LIMITS", tuple(map(str, files)))
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory.limit() == (limit or machine)


def test_elsewhere_nothing_is_asked_of_the_c_library(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    loaded = []
    monkeypatch.setattr(memory.ctypes, "CDLL", loaded.append)
    memory.retain_heap()
    memory.trim_heap(0.0)
    assert loaded == []
