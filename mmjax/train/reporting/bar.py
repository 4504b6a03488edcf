"""What a person sees during a run: a line that changes, or lines where that cannot be drawn."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

LINE_EVERY = 10.0  # seconds between lines where none can change
BAR = 12  # columns
APART = "  "


def fitting(pieces: Sequence[str], importance: Sequence[int], width: int) -> str:
    """The pieces that fit into a line, in their order: the most important ones, each of them whole.

    Args:
        pieces: those that are empty are left out.
        importance: of each piece, the largest number of the most important one, which is always
            there.
        width: columns of the line.
    """
    chosen: list[int] = []
    for i in sorted(range(len(pieces)), key=lambda i: -importance[i]):
        line = APART.join(pieces[j] for j in (*chosen, i))
        if pieces[i] and (not chosen or len(line) <= width):
            chosen.append(i)
    return APART.join(pieces[i] for i in sorted(chosen))


def clock(seconds: float) -> str:
    """A duration as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Bar:
    """The state of a run: step, loss, examples/s, last validation score, time left.

    On a terminal it is one line, as wide as that; elsewhere a line now and then, and one for each
    evaluation.
    """

    def __init__(self, console: Console, *, start: int, steps: int):
        self._console, self._step, self._steps = console, start, int(steps)
        self._first: tuple[int, float] | None = None  # the first step done, and when
        self._printed = time.monotonic()
        self._measured, self._note, self._left = ("compiling", ""), "", ""
        text = TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True))
        columns = (BarColumn(bar_width=BAR), text)
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=self._steps, completed=start, text="")
        self._show()

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        self._progress.stop()

    def update(self, step: int, *, loss: float, rate: float) -> None:
        """Shows a finished step.

        Args:
            step: steps done.
            loss: the last loss.
            rate: examples a second.
        """
        now = time.monotonic()
        # The first step compiles, so the clock starts after it.
        if self._first is None:
            self._first = (step, now)
        else:
            first, begun = self._first
            left = (now - begun) / (step - first) * (self._steps - step)
            self._left = f"{clock(left)} left"
        self._step, self._measured = step, (f"loss {loss:.4f}", f"{rate:,.0f} examples/s")
        self._show()
        if not self._console.is_terminal and (
            now - self._printed >= LINE_EVERY or step == self._steps
        ):
            self._printed = now
            self._print(*self._measured, self._note, self._left)

    def evaluated(self, step: int, score: str, best: str) -> None:
        """Shows an evaluation.

        Args:
            step: steps done.
            score: name and value of the monitored metric.
            best: the best value so far, and where it was.
        """
        self._step, self._note = step, score
        self._show()
        if not self._console.is_terminal:
            self._print(f"evaluated: {score}", best)

    def _print(self, *pieces: str) -> None:
        line = APART.join(piece for piece in (self._count, *pieces) if piece)
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    @property
    def _count(self) -> str:
        return f"step {self._step}/{self._steps}"

    def _show(self) -> None:
        loss, rate = self._measured
        pieces = (self._count, loss, rate, self._note, self._left)
        width = self._console.width - BAR - 1
        text = fitting(pieces, (5, 4, 1, 3, 2), width)
        self._progress.update(self._task, completed=self._step, text=text)
