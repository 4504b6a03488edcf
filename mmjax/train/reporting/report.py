"""Pictures of a finished run.

matplotlib is slow to import, and only runs that end need it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

SERIES = {"train": "tab:blue", "val": "tab:orange"}
MAX_COLUMNS = 4


def save(figure: Any, path: Path) -> None:
    """Writes a matplotlib figure as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=120)


def plot_curves(records: Sequence[dict], path: str | Path) -> None:
    """Each loss and metric of the validation over steps, beside its value in training.

    Groups, and the parts of metrics that have several, are left out.

    Args:
        records: the lines of metrics.jsonl.
        path: the PNG file to write.
    """
    from matplotlib.figure import Figure

    keys = dict.fromkeys(key for record in records for key in record)
    names = [k.removeprefix("val/") for k in keys if k.startswith("val/") and k.count("/") == 1]
    columns = max(min(len(names), MAX_COLUMNS), 1)
    rows = max(-(-len(names) // columns), 1)
    figure = Figure(figsize=(4.5 * columns, 3.6 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes in list(grid)[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(figure.axes, names, strict=False):
        for split, color in SERIES.items():
            key = f"{split}/{name}"
            points = [(r["step"], r[key]) for r in records if key in r]
            if points:
                style = "-" if len(points) > 1 else "o"
                axes.plot(*zip(*points, strict=True), style, color=color, label=split)
        axes.set(xlabel="step", title=name)
        values = [r[k] for r in records for k in (f"train/{name}", f"val/{name}") if k in r]
        # What stays within 0..1 is a share; losses may fall over orders of magnitude.
        if min(values) > 0 and max(values) > max(1, 10 * min(values)):
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend()
    save(figure, Path(path))
