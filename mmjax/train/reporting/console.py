"""What a person sees before and after a run: tables. For what is seen meanwhile see `bar`."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from clu import parameter_overview
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table
from rich.text import Text

MAX_COLUMNS = 6  # of a table of results; what has more is shown with a row for each metric


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


def print_record(console: Console, record: Mapping[str, int | float]) -> None:
    """A line of the log: the step, then names and values."""
    values = (f"{name} {value:.6g}" for name, value in record.items() if name != "step")
    line = "  ".join((f"step {record['step']}", *values))
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_results(
    console: Console,
    title: str,
    metrics: Mapping[str, float],
    counts: Mapping[str, int],
    baselines: Mapping[str, Mapping[str, float]],
) -> None:
    """The results, a row for all and one for each slice; with many metrics, a row for each.

    What is too wide either way has a row for each number, so that none is cut.

    Args:
        title: of the table.
        metrics: by NAME and NAME/SLICE.
        counts: how many examples each of them is over.
        baselines: results of trivial answers by name, by slice.
    """
    names = list(dict.fromkeys(name.partition("/")[0] for name in metrics))
    slices = sorted(dict.fromkeys(name.partition("/")[2] for name in metrics), key=bool)
    trivial = list(dict.fromkeys(name for found in baselines.values() for name in found))
    heading = ["", "examples", *names, *trivial]
    rows = [heading]
    for slice_name in slices:
        keys = [f"{name}/{slice_name}" if slice_name else name for name in names]
        cells = [f"{metrics[key]:.5f}" if key in metrics else "" for key in keys]
        count = next(counts[key] for key in keys if key in metrics)
        of_group = baselines.get(slice_name, {})
        last = [f"{of_group[name]:.5f}" if name in of_group else "" for name in trivial]
        rows.append([slice_name or "all", f"{count:,}", *cells, *last])
    turned = [list(row) for row in zip(*rows, strict=True)]
    ways = [rows, turned] if len(heading) <= MAX_COLUMNS else [turned, rows]
    fitting = (way for way in ways if _width(way) <= console.width)
    rows = next(fitting, None) or _one_number_a_row(rows)
    _print_titled(console, title, rows)


def print_baselines(
    console: Console, found: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> None:
    """For each task and metric a table of models and their scores."""
    for task, metrics in found.items():
        for metric, scores in metrics.items():
            rows = [["", metric], *([name, f"{score:.5f}"] for name, score in scores.items())]
            _print_titled(console, f"{task}: beside other models, on the test set", rows)


def print_folds(console: Console, scores: Mapping[str, Sequence[float]]) -> None:
    """The mean and the standard deviation of each metric over the folds of a cross-validation."""
    rows = [["metric", "mean", "deviation", "folds"]]
    for name, values in scores.items():
        each = " ".join(f"{value:.4f}" for value in values)
        rows.append([name, f"{np.mean(values):.4f}", f"{np.std(values):.4f}", each])
    _print_titled(console, "test results over folds", rows)


def _print_titled(console: Console, title: str, rows: Sequence[Sequence[str]]) -> None:
    """A table, its heading first; the title has a line of its own, as a narrow table breaks one."""
    table = Table()
    for heading in rows[0]:
        table.add_column(Text(heading))  # brackets in names are no styles
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    console.print(Text(title, style="table.title"), soft_wrap=True)
    console.print(table)


def _width(rows: Sequence[Sequence[str]]) -> int:
    # A column has a space on both sides; lines stand between columns and around them.
    return 1 + sum(max(map(len, column)) + 3 for column in zip(*rows, strict=True))


def _one_number_a_row(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    heading, *slices = rows
    cells = [
        [slice_name, name, value]
        for slice_name, *values in slices
        for name, value in zip(heading[1:], values, strict=True)
        if value
    ]
    return [["", "", ""], *cells]
