"""What a process does with freed memory: keeps it, but not too much of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmjax import memory

linux = pytest.mark.skipif(sys.platform != "linux", reason="only glibc can keep freed memory")

# Page faults while a buffer of 200 MB is made and freed ten times: the first time is not counted.
FAULTS = """
import resource
import threading

import numpy as np

from mmjax import memory

memory.keep_freed()

def use():
    np.empty(200_000_000, np.uint8)[:] = 1

def count():
    use()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        use()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

count()
thread = threading.Thread(target=count)  # as XLA does it
thread.start()
thread.join()
"""

# Megabytes: what a freed buffer of 400 MB leaves, after no return and after one.
HELD = """
import sys

import numpy as np

from mmjax import memory

memory.keep_freed()
begun = memory.resident()
buffer = np.ones(400_000_000, np.uint8)
behind = bytes(100_000)  # the buffer is not the last of the heap
del buffer
for share in map(float, sys.argv[1:]):
    memory.return_freed(share)
    print((memory.resident() - begun) // 10**6)
"""

# Megabytes in huge pages, and mapped pages, after 100 MB were touched.
HUGE = """
import re
import resource
from pathlib import Path

from mmjax import memory

memory.keep_freed()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
buffer = b"1" * 100_000_000  # for its own arrays numpy asks for huge pages by itself
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
sizes = re.findall(r"AnonHugePages: +(\\d+) kB", Path("/proc/self/smaps").read_text())
print(sum(map(int, sizes)) // 1000)
"""
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def numbers(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return [int(line) for line in done.stdout.split()]


@linux
def test_freed_memory_stays_with_the_process():
    assert [faults < 1000 for faults in numbers(FAULTS)] == [True, True]


@linux
def test_freed_memory_is_returned_above_a_share_of_all_memory():
    # 400 MB and what Python and jax hold are less than all memory, and more than a thousandth.
    kept, left = numbers(HELD, "1.0", "0.001")
    assert kept > 390
    assert left < 50


@linux
@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(),
    reason="this system has no huge pages",
)
def test_large_buffers_lie_in_huge_pages():
    faults, megabytes = numbers(HUGE)
    assert faults < 5000  # 24,414 of 4 kB
    assert megabytes > 80


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
    memory.keep_freed()
    memory.return_freed(0.0)
    assert loaded == []
