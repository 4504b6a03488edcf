"""SIGTERM and Ctrl-C: finish the step, save, say so, leave."""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Supervisors and people send a signal several times; seconds from which another one is meant.
REPEATED = 5.0


class Interrupted(SystemExit):
    """Ends the program with the exit code of the signal: 143 for SIGTERM, 130 for Ctrl-C."""

    def __init__(self, signum: int):
        super().__init__(128 + signum)
        self.signal_name = signal.Signals(signum).name


class Interrupts:
    """Catches the two signals while it is entered.

    Outside `deferred` a signal raises Interrupted at once; inside, it is only noted, and the loop
    asks `received` when it can save. More signals change nothing, so that what is being saved is
    saved; but from five seconds after the first one another ends the program where it stands, even
    if it hangs in a library.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._deferred = False
        self._before: dict[int, object] = {}

    def _handle(self, signum: int, _: FrameType | None) -> None:
        if self.received is None:
            self.received = signum
            if not self._deferred:
                raise Interrupted(signum)

    def _watch(self) -> None:
        # Python's handlers wait for the main thread; this thread hears of the signals without it.
        first = None
        while number := self._reader.recv(1):
            now = time.monotonic()
            if number[0] not in SIGNALS:
                continue
            if first is None:
                first = now
            elif now - first > REPEATED:
                _end(number[0])

    def __enter__(self) -> "Interrupts":
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        for signum in SIGNALS:
            self._before[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *_) -> None:
        for signum, handler in self._before.items():
            if handler is not None:  # one of a C library cannot be set from here
                signal.signal(signum, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._writer.close()
        self._watcher.join()
        self._reader.close()

    def defer(self) -> None:
        """From here on, signals are noted for the loop."""
        self._deferred = True

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, while nothing is under way that would be lost, signals raise."""
        self.raise_at_once()
        try:
            yield
        finally:
            self._deferred = True

    def stops(self) -> bool:
        """Whether a signal was noted, for the loop to stop before its next step."""
        return self.received is not None

    def points(self, batches: Iterable[Any]) -> Iterable[Any]:
        """Batches between which several processes can stop; one alone can everywhere."""
        return batches

    def raise_at_once(self) -> None:
        """From here on, signals raise; one noted before raises now."""
        self._deferred = False
        if self.received is not None:
            raise Interrupted(self.received)


def _end(signum: int) -> None:
    name = signal.Signals(signum).name
    print(f"{name} again: ended without saving; start again to go on", file=sys.stderr, flush=True)
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(128 + signum)
