"""The tables and the picture of this study, from the workdirs of its runs.

python experiments/fusion/table.py RUNS   (RUNS holds TASK/FUSION-SEED, as run.py makes them)

A score is (accuracy - chance) / (best - chance) in percent, where `best` is the Bayes accuracy of
the task (or of what is left of it when a modality is dropped) and chance that of the most frequent
answer: 100 is all that can be known, 0 is nothing.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmjax.data import controlled

FLIP = 0.05
CLASSES = {"redundant": 5, "unique": 5, "xor": 2, "sum": 5}


def read(root: Path) -> dict[str, dict[tuple[str, str], list[float]]]:
    """Test accuracy of each seed, by fusion and by task and condition."""
    found = defaultdict(lambda: defaultdict(list))
    for task in CLASSES:
        for metrics in sorted((root / task).glob("*/metrics.jsonl")):
            *_, last = map(json.loads, metrics.read_text().splitlines())
            fusion = metrics.parent.name.rsplit("-", 1)[0]
            for group in controlled.GROUPS:
                if f"test/accuracy/{group}" in last:
                    found[fusion][task, group].append(last[f"test/accuracy/{group}"])
    return found


def best(task: str, condition: str) -> float:
    """The Bayes accuracy of a task under a condition."""
    present = tuple(m for m in controlled.MODALITIES if f"without {m}" != condition)
    return controlled.bayes_accuracy(task, classes=CLASSES[task], flip=FLIP, present=present)


def chance(task: str) -> float:
    """The accuracy of an answer from nothing."""
    return controlled.bayes_accuracy(task, classes=CLASSES[task], flip=FLIP, present=())


def markdown(found: dict) -> str:
    """Mean accuracy over seeds in percent (worst seed), a line a fusion."""
    columns = [(task, "complete") for task in CLASSES]
    columns += [("redundant", "without a"), ("redundant", "without b"), ("unique", "without a")]
    columns += [("unique", "without b")]
    titles = [t if c == "complete" else f"{t}, {c}" for t, c in columns]
    lines = [
        f"| fusion | {' | '.join(titles)} |",
        "|---" * (len(titles) + 1) + "|",
        "| *best possible* | " + " | ".join(f"*{100 * best(t, c):.1f}*" for t, c in columns) + " |",
    ]
    for fusion, values in sorted(found.items()):
        cells = []
        for column in columns:
            seeds = 100 * np.array(values.get(column, []))
            cells.append(f"{seeds.mean():.1f} ({seeds.min():.1f})" if len(seeds) else "")
        lines.append(f"| `{fusion}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(found: dict, path: Path) -> None:
    """Scores as shades: a row a fusion, a column a task, and tasks with a modality dropped."""
    columns = [(task, "complete") for task in CLASSES]
    columns += [(task, f"without {m}") for task in ("redundant", "unique") for m in "ac"]
    columns += [("redundant", "without b")]
    scores = {
        fusion: [
            100 * (np.mean(values[t, c]) - chance(t)) / (best(t, c) - chance(t))
            if values.get((t, c))
            else np.nan
            for t, c in columns
        ]
        for fusion, values in found.items()
    }
    order = sorted(scores, key=lambda fusion: -np.nanmean(scores[fusion][: len(CLASSES)]))
    table = np.array([scores[fusion] for fusion in order])
    figure = Figure(figsize=(8.5, 1.6 + 0.27 * len(order)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(np.clip(table, 0, 100), cmap="RdYlGn", vmin=0, vmax=100, aspect="auto")
    axes.set_yticks(range(len(order)), order)
    labels = [t if c == "complete" else f"{t},\n{c}" for t, c in columns]
    axes.set_xticks(range(len(columns)), labels, rotation=45, ha="left", fontsize=9)
    axes.xaxis.tick_top()
    axes.axvline(len(CLASSES) - 0.5, color="white", linewidth=4)
    for row, column in np.ndindex(*table.shape):
        if np.isfinite(table[row, column]):
            text = f"{table[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8)
    figure.colorbar(image, label="% of what can be known beyond chance")
    figure.savefig(path, dpi=120)


def main(root: Path) -> None:
    """Prints the table and draws the picture beside this file."""
    found = read(root)
    print(markdown(found))
    plot(found, Path(__file__).parent / "scores.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
