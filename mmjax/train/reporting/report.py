"""Pictures of a finished run: curves.png and confusion.png.

matplotlib is slow to import, and only runs that end need it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SERIES = {"train": "tab:blue", "val": "tab:orange"}
MOST_COLUMNS = 4


def _figure(width: float, height: float) -> Any:
    """A figure of a size in inches, with no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_curves(records: Sequence[dict], path: str | Path) -> None:
    """Each loss and metric of the validation over steps, beside its value in training.

    Groups, and the parts of metrics that have several, are left out.

    Args:
        records: the lines of metrics.jsonl.
        path: the PNG file to write.
    """
    keys = dict.fromkeys(key for record in records for key in record)
    names = [k.removeprefix("val/") for k in keys if k.startswith("val/") and k.count("/") == 1]
    columns = max(min(len(names), MOST_COLUMNS), 1)
    rows = max(-(-len(names) // columns), 1)
    figure = _figure(4.5 * columns, 3.6 * rows)
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
    figure.savefig(path, dpi=120)


def plot_confusion(
    labels: np.ndarray, predictions: np.ndarray, names: Sequence[str], path: str | Path
) -> None:
    """Counts of each prediction (columns) for each label (rows); shades are shares of the row.

    Args:
        labels, predictions: [examples] class indices.
        names: the classes.
        path: the PNG file to write.
    """
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(labels, predictions, labels=range(len(names)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.45 * len(names)
    figure = _figure(side, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="label", title="test set")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    for row, column in zip(*np.nonzero(counts), strict=True):
        color = "white" if shares[row, column] > 0.5 else "black"
        text = str(counts[row, column])
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    figure.savefig(path, dpi=120)
