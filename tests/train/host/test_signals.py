import os
import signal
import subprocess
import sys
import time

import pytest

from mmjax.train.host.signals import Interrupted, Interrupts

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


@pytest.mark.parametrize(("signum", "code"), SIGNALS)
def test_the_exit_code_is_that_of_the_signal(signum, code):
    with Interrupts(), pytest.raises(Interrupted) as caught:
        os.kill(os.getpid(), signum)
    assert caught.value.code == code


def test_deferred_it_is_only_noted_and_a_second_signal_changes_nothing():
    with Interrupts() as interrupts:
        interrupts.defer()
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.received == signal.SIGTERM
        with pytest.raises(Interrupted):
            interrupts.raise_at_once()
        os.kill(os.getpid(), signal.SIGTERM)  # while the program ends: no exception on another


def test_while_a_batch_is_waited_for_signals_raise_and_then_are_noted_again():
    with Interrupts() as interrupts:
        interrupts.defer()
        with interrupts.waiting():
            pass
        with pytest.raises(Interrupted), interrupts.waiting():
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.received == signal.SIGINT
        with pytest.raises(Interrupted), interrupts.waiting():
            pytest.fail("a signal noted before does not wait for a batch")


# A program that hangs in C, where Python's own handlers never run.
HANGS = """
import signal, sys, threading
from mmjax.train.host import signals
signals.REPEATED = 0.3
with signals.Interrupts() as interrupts:
    interrupts.defer()
    signal.pthread_sigmask(signal.SIG_BLOCK, set())
    print("hangs", flush=True)
    import ctypes
    ctypes.CDLL(None).sem_wait(ctypes.create_string_buffer(64))
    while True:
        ctypes.CDLL(None).sem_wait(ctypes.create_string_buffer(64))
"""


@pytest.mark.parametrize(("signum", "code"), SIGNALS)
def test_a_program_that_hangs_is_ended_by_a_later_signal(signum, code):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HANGS], **pipes)
    assert process.stdout.readline() == "hangs\n"
    for pause in (0.1, 0.5, 0):  # the second is the first one repeated
        process.send_signal(signum)
        time.sleep(pause)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert err.splitlines() == [
        f"{signal.Signals(signum).name} again: ended without saving; start again to go on"
    ]


def test_the_handlers_before_it_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1
