"""SIGTERM and Ctrl-C: finish the step, save, say so, leave."""

import signal
from types import FrameType


class Interrupted(SystemExit):
    """Ends the program with the exit code of the signal: 143 for SIGTERM, 130 for Ctrl-C."""

    def __init__(self, signum: int):
        super().__init__(128 + signum)
        self.signal_name = signal.Signals(signum).name


class Interrupts:
    """Catches the two signals while it is entered.

    Outside `deferred` a signal raises Interrupted at once; inside, it is only noted, and the loop
    asks `received` when it can save. A second signal does not wait.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._deferred = False
        self._before: dict[int, object] = {}

    def _handle(self, signum: int, _: FrameType | None) -> None:
        if self._deferred and self.received is None:
            self.received = signum
        else:
            raise Interrupted(signum)

    def __enter__(self) -> "Interrupts":
        for signum in (signal.SIGTERM, signal.SIGINT):
            self._before[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *_) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def defer(self) -> None:
        """From here on, signals are noted for the loop."""
        self._deferred = True

    def raise_at_once(self) -> None:
        """From here on, signals raise; one noted before raises now."""
        self._deferred = False
        if self.received is not None:
            raise Interrupted(self.received)
