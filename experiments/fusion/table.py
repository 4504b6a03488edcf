"""The tables and the picture of this study, from the workdirs of its runs.

python experiments/fusion/table.py RUNS   (RUNS holds TASK/FUSION-SEED, as run.py makes them)

A score is (accuracy - chance) / (best - chance) in percent, where `best` is the best accuracy that
anything can reach on the task (or on what is left of it when a modality is dropped) and chance that
of the most frequent answer: 100 is all that can be known, 0 is nothing.
"""

import sys
from collections import defaultdict
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from run import FUSIONS, MLP, TASKS, configure

from mmjax import factory
from mmjax.data.datasets import controlled, digit_arithmetic
from mmjax.train.reporting.writers import read_metrics
from mmjax.types import Tokens

# What is left when a modality is dropped, where anything is: the columns besides the tasks.
DROPPED = [("redundant", f"without {name}") for name in "abc"]
DROPPED += [("unique", "without a"), ("unique", "without c"), ("xor", "without c")]
DROPPED += [("lookup", "without a"), ("lookup", "without c")]
DROPPED += [("digits", f"without {name}") for name in digit_arithmetic.MODALITIES]


def read(root: Path) -> tuple[dict, dict]:
    """By fusion and (task, condition): the test accuracy of each seed; and milliseconds a step."""
    accuracies, times = (defaultdict(lambda: defaultdict(list)) for _ in range(2))
    for task in TASKS:
        for directory in sorted((root / task).glob("*-*")):
            fusion, seed = directory.name.rsplit("-", 1)
            records = read_metrics(directory)
            if not records or "test/accuracy/complete" not in records[-1]:
                continue
            for name, value in records[-1].items():
                if name.startswith("test/accuracy/"):
                    accuracies[fusion][task, name.removeprefix("test/accuracy/")].append(value)
            rates = [r["train/examples_per_sec"] for r in records if "train/examples_per_sec" in r]
            rows = configure(task, fusion, int(seed)).data.batch_size
            times[fusion][task].append(1000 * rows / np.median(rates[len(rates) // 2 :]))
    return accuracies, times


def best(task: str, condition: str = "complete") -> float:
    """The best possible accuracy under a condition; "nothing": with no modality at all."""
    dropped = condition.removeprefix("without ")
    if task == "digits":
        known = {"complete": (), "nothing": digit_arithmetic.MODALITIES}
        return digit_arithmetic.best_without(*known.get(condition, (dropped,)))
    options = configure(task, "concat", 0).data.options
    present = tuple(m for m in controlled.MODALITIES if m != dropped and condition != "nothing")
    return controlled.bayes_accuracy(
        options.task, classes=options.classes, flip=options.flip, present=present
    )


def parameters(fusion: str) -> int:
    """Parameters of the fusion alone, at width 32 and with three modalities of one token."""
    config = configure("sum", fusion, 0)
    if config.decision:
        return 0
    options = {k: v for k, v in config.fusion.items() if k != "name"}
    module = factory.FUSIONS[config.fusion.name](width=32, **options)
    token = Tokens(jnp.zeros((1, 1, 32)), jnp.ones((1, 1), bool))
    made = jax.eval_shape(module.init, jax.random.key(0), dict.fromkeys("abc", token))
    return sum(p.size for p in jax.tree.leaves(made))


def cell(values: list[float]) -> str:
    """Mean over seeds in percent, and the worst seed."""
    return f"{100 * np.mean(values):.1f} ({100 * min(values):.1f})" if values else ""


def markdown(accuracies: dict, times: dict) -> str:
    """All tasks with everything present; and what is left when a modality is dropped."""
    titles = ["parameters", "ms a step", *TASKS]
    lines = [f"| fusion | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    limits = [f"*{100 * best(task):.1f}*" for task in TASKS]
    chances = [f"*{100 * best(task, 'nothing'):.1f}*" for task in TASKS]
    lines.append(f"| *best possible* | | | {' | '.join(limits)} |")
    lines.append(f"| *most frequent answer* | | | {' | '.join(chances)} |")
    fusions = [fusion for fusion in FUSIONS if fusion in accuracies]
    for fusion in fusions:
        found = [cell(accuracies[fusion].get((task, "complete"), [])) for task in TASKS]
        step = np.mean(times[fusion]["sum"]) if times[fusion]["sum"] else np.nan
        lines.append(f"| `{fusion}` | {parameters(fusion):,} | {step:.1f} | {' | '.join(found)} |")
    lines += ["", f"| fusion | {' | '.join(f'{t}, {c}' for t, c in DROPPED)} |"]
    lines.append("|---" * (len(DROPPED) + 1) + "|")
    limits = [f"*{100 * best(*column):.1f}*" for column in DROPPED]
    lines.append(f"| *best possible* | {' | '.join(limits)} |")
    for fusion in fusions:
        found = [cell(accuracies[fusion].get(column, [])) for column in DROPPED]
        lines.append(f"| `{fusion}` | {' | '.join(found)} |")
    return "\n".join(lines)


def score(values: list[float], task: str, condition: str) -> float:
    """Percent of what can be known beyond chance."""
    if not values:
        return np.nan
    chance = best(task, "nothing")
    return 100 * (np.mean(values) - chance) / (best(task, condition) - chance)


def plot(accuracies: dict, path: Path) -> None:
    """Scores as shades: a row a fusion, a column a task, then tasks with a modality dropped."""
    columns = [(task, "complete") for task in TASKS] + DROPPED
    scores = {
        fusion: [score(found.get(column, []), *column) for column in columns]
        for fusion, found in accuracies.items()
    }
    # Best first; the rows with another head, which have only some of the tasks, below.
    order = sorted(scores, key=lambda f: (MLP in f, -np.nanmean(scores[f][: len(TASKS)])))
    table = np.array([scores[fusion] for fusion in order])
    figure = Figure(figsize=(10.5, 1.8 + 0.27 * len(order)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(np.clip(table, 0, 100), cmap="RdYlGn", vmin=0, vmax=100, aspect="auto")
    axes.set_yticks(range(len(order)), order)
    labels = [task if c == "complete" else f"{task}, {c}" for task, c in columns]
    axes.set_xticks(range(len(columns)), labels, rotation=60, ha="left", fontsize=9)
    axes.xaxis.tick_top()
    axes.axvline(len(TASKS) - 0.5, color="white", linewidth=4)
    for row, column in np.ndindex(*table.shape):
        if np.isfinite(table[row, column]):
            text = f"{table[row, column]:.0f}"
            color = "black" if 10 < table[row, column] < 95 else "white"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    everything = "left: all modalities present; right: one dropped"
    axes.set_xlabel(f"% of what can be known beyond chance, mean of the seeds\n{everything}")
    figure.colorbar(image, shrink=0.4, aspect=30)
    figure.savefig(path, dpi=120)


def main(root: Path) -> None:
    """Prints the tables and draws the picture beside this file."""
    accuracies, times = read(root)
    if not accuracies:
        sys.exit(f"{root}: no finished runs; make them with experiments/fusion/run.py {root}")
    print(markdown(accuracies, times))
    plot(accuracies, Path(__file__).parent / "scores.png")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
