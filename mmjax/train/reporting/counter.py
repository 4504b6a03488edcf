"""How far something is that counts up to a known number: a line that changes, or lines."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from mmjax.train.reporting.bar import APART, BAR, LINE_EVERY, clock


class Counter:
    """Shows how many are done, how many a second, and the time left.

    On a terminal it is one line; elsewhere a line now and then, and one at the end.

    Args:
        console: where.
        total: how many there are.
        what: they are, such as "rows".
    """

    def __init__(self, console: Console, total: int, what: str):
        self._console, self._total, self._what = console, total, what
        self._begun = self._printed = time.monotonic()
        self._start: int | None = None  # what was done before
        text = TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True))
        columns = (BarColumn(bar_width=BAR), text)
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=total, text="")

    def __enter__(self) -> "Counter":
        self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        self._progress.stop()

    def update(self, done: int) -> None:
        """Shows how many are done."""
        now = time.monotonic()
        if self._start is None:
            self._start, self._begun = done, now
        rate = (done - self._start) / max(now - self._begun, 1e-9)
        pieces = [f"{done:,}/{self._total:,} {self._what}"]
        if done > self._start and now > self._begun:
            pieces += [f"{rate:,.0f}/s", f"{clock((self._total - done) / rate)} left"]
        line = APART.join(pieces)
        self._progress.update(self._task, completed=done, text=line)
        if not self._console.is_terminal and (
            now - self._printed >= LINE_EVERY or done == self._total
        ):
            self._printed = now
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
