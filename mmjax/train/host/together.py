"""Several processes stop at the same point, whichever of them a signal reaches."""

import contextlib
import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from mmjax.train.host import processes
from mmjax.train.host.signals import Interrupts

KEY = "mmjax/stop"
# Between two points lies a compiled program of all processes, and all but the newest of these have
# been waited for: so no process is more than two points ahead of another when it proposes.
AHEAD = 3


def interrupts() -> Interrupts:
    """What catches the signals in this process, alone or as one of several."""
    return Together() if processes.several() else Interrupts()


class Together(Interrupts):
    """The signals to several processes, none of which can go on, or save, without the others.

    A signal is only noted until the next point: before a training step, or before a batch of what
    follows the training. There the process that got it proposes the point at which all will stop;
    the first point is one itself, since there all wait for each other.
    """

    def __init__(self) -> None:
        super().__init__()
        self._noted: int | None = None
        self._point = 0
        self._last: tuple[int, int] | None = None  # the point to stop at, and the signal

    def _handle(self, signum: int, _: FrameType | None) -> None:
        if self._noted is None:
            self._noted = signum

    def stops(self) -> bool:
        """Whether all stop here; all processes ask equally often."""
        self._point += 1
        if self._last is None:
            first = self._point == 1
            if self._noted is not None:
                at = self._point + (0 if first else AHEAD)
                processes.propose(f"{KEY}/at", f"{at} {self._noted}")
            if first:  # before the first step compiles, which can take minutes
                processes.meet("mmjax/begin")
            for _, value in processes.proposed(KEY):
                point, signum = value.split()
                self._last = int(point), int(signum)
        if self._last is not None and self._point >= self._last[0]:
            self.received = self._last[1]
        elif processes.preempted(self._point):
            self.received = signal.SIGTERM
        return self.received is not None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Nothing raises inside: the others may be a step further."""
        yield

    def points(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches, with a point before each."""
        for batch in batches:
            self.stops()
            self.raise_at_once()
            yield batch
