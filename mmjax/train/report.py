"""Pictures of a finished run: curves.png and confusion.png."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

SERIES = {"train": "tab:blue", "val": "tab:orange"}


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=120)


def plot_curves(records: Sequence[dict], names: Sequence[str], path: str | Path) -> None:
    """Each of `names` over steps, training and validation in one panel.

    Args:
        records: the lines of metrics.jsonl.
        names: losses and metrics without their split.
        path: the PNG file to write.
    """
    figure = Figure(figsize=(4.5 * len(names), 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for split, color in SERIES.items():
            key = f"{split}/{name}"
            points = [(r["step"], r[key]) for r in records if key in r]
            if points:
                style = "-" if len(points) > 1 else "o"
                axes.plot(*zip(*points, strict=True), style, color=color, label=split)
        axes.set(xlabel="step", title=name)
        values = [r[k] for r in records for k in (f"train/{name}", f"val/{name}") if k in r]
        if values and min(values) > 0 and name != "accuracy":
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    _save(figure, Path(path))


def plot_confusion(
    labels: np.ndarray, predictions: np.ndarray, names: Sequence[str], path: str | Path
) -> None:
    """Counts of each prediction (columns) for each label (rows); shades are shares of the row.

    Args:
        labels, predictions: [examples] class indices.
        names: the classes.
        path: the PNG file to write.
    """
    counts = confusion_matrix(labels, predictions, labels=range(len(names)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.45 * len(names)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="label", title="test set")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    for row, column in zip(*np.nonzero(counts), strict=True):
        color = "white" if shares[row, column] > 0.5 else "black"
        text = str(counts[row, column])
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    _save(figure, Path(path))
