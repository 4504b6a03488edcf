"""What a command line does to its process before jax starts."""

import subprocess
import sys

import pytest

# Page faults while a buffer of 200 MB is made and freed ten times: the first time is not counted.
PROBE = """
import resource
import threading

import numpy as np

from mmjax import cli

cli.keep_freed_memory()

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


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux is meant")
def test_freed_memory_stays_with_the_process():
    out = subprocess.run(
        [sys.executable, "-c", PROBE], check=True, capture_output=True, text=True, timeout=120
    )
    assert [int(line) < 1000 for line in out.stdout.split()] == [True, True]
