"""The table and the picture of this study, from the workdirs of its runs.

python experiments/vqa/table.py RUNS   (RUNS holds NAME-SEED directories, as run.sh makes them)
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLUMNS = ("", "/yes_no", "/color", "/shape")
PUBLISHED = (0.938, 0.995)  # the Keras model; with twice the data and a bigger network


def read_runs(root: Path) -> dict[str, list[dict]]:
    """By name, each seed's test record, wall seconds and validation curve over seconds."""
    runs = defaultdict(list)
    for metrics in sorted(root.glob("*/metrics.jsonl")):
        workdir, records = metrics.parent, [json.loads(line) for line in metrics.open()]
        log = (root / f"{workdir.name}.log").read_text()
        wall, memory = (re.search(rf"^{key} (\S+)", log, re.M) for key in ("seconds", "kilobytes"))
        name, seed = workdir.name.rsplit("-", 1)
        runs[name].append(
            {
                "seed": int(seed),
                "test": records[-1],
                "wall": float(wall[1]),
                "memory": int(memory[1]) / 2**20,
                "curve": [(r["step"], r["val/accuracy"]) for r in records if "val/accuracy" in r],
                "steps": records[-1]["step"],
            }
        )
    return runs


def markdown(runs: dict[str, list[dict]]) -> str:
    """Mean over seeds (and the worst) of each accuracy in percent, the wall time and the memory."""
    lines = [
        "| run | seeds | all (worst seed) | yes/no | color | shape | wall time, s | memory, GiB |"
    ]
    lines.append("|---" * 8 + "|")
    for name, seeds in runs.items():
        values = np.array([[100 * s["test"][f"test/accuracy{c}"] for c in COLUMNS] for s in seeds])
        mean, worst = values.mean(0), values[:, 0].min()
        wall, memory = max(s["wall"] for s in seeds), max(s["memory"] for s in seeds)
        rest = " | ".join(f"{value:.2f}" for value in mean[1:])
        cells = f"{name} | {len(seeds)} | {mean[0]:.2f} ({worst:.2f}) | {rest}"
        lines.append(f"| {cells} | {wall:.0f} | {memory:.2f} |")
    return "\n".join(lines)


def plot(runs: dict[str, list[dict]], path: Path) -> None:
    """Validation error over the share of wall time, a line a seed; the published results beside."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for color, (name, seeds) in zip(("C0", "C1", "C2", "C3"), runs.items(), strict=False):
        for i, seed in enumerate(seeds):
            steps, accuracy = np.array(seed["curve"]).T
            seconds = seed["wall"] * steps / seed["steps"]
            error = np.maximum(100 * (1 - accuracy), 0.01)
            axes.plot(seconds, error, "o-", color=color, ms=3, lw=1, label=None if i else name)
    for accuracy in PUBLISHED:
        axes.axhline(100 * (1 - accuracy), color="gray", lw=0.8, ls="--")
        text = f"published: {100 * accuracy:.1f} %"
        axes.text(1, 100 * (1 - accuracy), text, fontsize=8, color="gray", va="bottom")
    axes.set(xlabel="wall time, s (two CPU cores)", ylabel="validation error, %", yscale="log")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    found = read_runs(Path(sys.argv[1]))
    print(markdown(found))
    plot(found, Path(__file__).parent / "accuracy.png")
