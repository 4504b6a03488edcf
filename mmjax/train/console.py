"""What a person sees: tables before and after a run, a progress bar during it."""

import time
from collections.abc import Mapping, Sequence

import jax
from clu import parameter_overview
from jax.sharding import Mesh
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

MOST_COLUMNS = 6  # of a table of results; what has more is shown with a row for each metric
LINE_EVERY = 10.0  # seconds between lines where no bar can be drawn


def print_setup(
    console: Console, *, params, mesh: Mesh, sizes: Mapping[str, tuple[int, int]]
) -> None:
    """The parameters, the devices and the data, before the first step.

    Args:
        params: parameters or their shapes.
        mesh: the devices.
        sizes: records (images, say) and examples (questions) of each split, by name.
    """
    overview = parameter_overview.get_parameter_overview(params, include_stats=False)
    console.print(overview, markup=False, highlight=False, soft_wrap=True)
    device = mesh.devices.flat[0]
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items())
    console.print(
        f"devices: {mesh.size} of {len(jax.devices())} {device.device_kind}; mesh: {shape}; "
        f"jax {jax.__version__}"
    )
    table = Table("split", "records", "examples")
    for name, (records, examples) in sizes.items():
        table.add_row(name, f"{records:,}", f"{examples:,}")
    console.print(table)


def print_results(
    console: Console,
    title: str,
    metrics: Mapping[str, float],
    counts: Mapping[str, int],
    baselines: Mapping[str, float],
) -> None:
    """The results, a row for all and one for each group; with many metrics, a row for each.

    What is too wide either way has a row for each number, so that none is cut.

    Args:
        title: of the table.
        metrics: by NAME and NAME/GROUP.
        counts: how many examples each of them is over.
        baselines: the share of the commonest class, by group; {} where there are no classes.
    """
    names = list(dict.fromkeys(name.partition("/")[0] for name in metrics))
    groups = sorted(dict.fromkeys(name.partition("/")[2] for name in metrics), key=bool)
    heading = ["", "examples", *names, *(["majority class"] if baselines else [])]
    rows = [heading]
    for group in groups:
        keys = [f"{name}/{group}" if group else name for name in names]
        cells = [f"{metrics[key]:.5f}" if key in metrics else "" for key in keys]
        count = next(counts[key] for key in keys if key in metrics)
        last = [f"{baselines[group]:.5f}" if group in baselines else ""] if baselines else []
        rows.append([group or "all", f"{count:,}", *cells, *last])
    turned = [list(row) for row in zip(*rows, strict=True)]
    ways = [rows, turned] if len(heading) <= MOST_COLUMNS else [turned, rows]
    fitting = (way for way in ways if _width(way) <= console.width)
    rows = next(fitting, None) or _one_number_a_row(rows)
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)


def _width(rows: Sequence[Sequence[str]]) -> int:
    # A column has a space on both sides; lines stand between columns and around them.
    return 1 + sum(max(map(len, column)) + 3 for column in zip(*rows, strict=True))


def _one_number_a_row(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    heading, *groups = rows
    cells = [
        [group, name, value]
        for group, *values in groups
        for name, value in zip(heading[1:], values, strict=True)
        if value
    ]
    return [["", "", ""], *cells]


class Bar:
    """A progress bar: step, loss, examples/s, time left; without a terminal, lines."""

    def __init__(self, console: Console, *, start: int, steps: int):
        self._console, self._step, self._steps = console, start, steps
        self._first: tuple[int, float] | None = None  # the first step done, and when
        self._line = time.monotonic()
        columns: Sequence = (
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=steps, completed=start, text="compiling")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        self._progress.stop()

    def update(self, step: int, *, loss: float, rate: float, note: str = "") -> None:
        """Shows a finished step.

        Args:
            step: steps done.
            loss: the last loss.
            rate: examples a second.
            note: anything else, such as the last validation score.
        """
        text = f"loss {loss:.4f}  {rate:,.0f} examples/s  {note}"
        self._progress.update(self._task, completed=step, text=text)
        now = time.monotonic()
        if self._console.is_terminal or (now - self._line < LINE_EVERY and step < self._steps):
            return
        self._line = now
        self._console.print(
            f"step {step}/{self._steps}  {text}{self._left(step, now)}", highlight=False
        )

    def _left(self, step: int, now: float) -> str:
        # The first step compiles, so the clock starts after it.
        if self._first is None:
            self._first = (step, now)
            return ""
        first, begun = self._first
        return f"  {(now - begun) / (step - first) * (self._steps - step):.0f} s left"
