"""The tables and the picture of this study, from the lines that run.py and cost.py wrote.

PYTHONPATH=. python experiments/multitask/table.py RESULTS.jsonl [COST.jsonl]
"""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from methods import EQUAL, GRADIENTS, GRID, LOSSES, METHODS, MODALITIES, OTHERS, SUITES

LOWEST = 12  # points below tuned weights that the picture still shows
Runs = Mapping[str, Mapping[int, Any]]  # by method and seed


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def accuracy(line: Mapping[str, Any], suite: str, split: str = "test") -> np.ndarray:
    """Of each task; NaN of those that a run has not."""
    found, method = line[split], line["method"]
    own = {method.removeprefix("only "): found.get("accuracy", np.nan)}
    return np.array([own.get(t, found.get(f"{t}/accuracy", np.nan)) for t in SUITES[suite]])


def of_suite(lines: list[dict[str, Any]], suite: str) -> tuple[Runs, str]:
    """The runs of a suite, and which fixed weights are the best on validation over all seeds.

    The three models of one task each count as one run, "alone".
    """
    runs: dict[str, dict[int, Any]] = defaultdict(dict)
    for line in lines:
        if line["suite"] == suite and line["method"] != "linear":
            runs[line["method"]][line["seed"]] = line
    fixed = [EQUAL, *(f"fixed {weights}" for weights in GRID)]
    score = {
        name: np.mean([accuracy(x, suite, "validation") for x in runs[name].values()])
        for name in fixed
        if len(runs.get(name, ())) == len(runs[EQUAL])
    }
    return runs, max(score, key=score.__getitem__)


def scores(runs: Runs, suite: str) -> dict[str, dict[int, np.ndarray]]:
    """By method and seed the accuracy of each task on the test."""
    found = {
        method: {seed: accuracy(line, suite) for seed, line in sorted(of.items())}
        for method, of in runs.items()
        if not method.startswith("only ")
    }
    alone = [runs.get(f"only {task}", {}) for task in SUITES[suite]]
    found["alone"] = {
        seed: np.nansum([accuracy(of[seed], suite) for of in alone], axis=0)
        for seed in runs[EQUAL]
        if all(seed in of for of in alone)
    }
    return {method: of for method, of in found.items() if of}


def kind(method: str) -> str:
    """What a method looks at."""
    kinds = {**dict.fromkeys(LOSSES, "losses"), **dict.fromkeys(GRADIENTS, "gradients")}
    return (kinds | dict.fromkeys(MODALITIES, "modalities")).get(method, "")


def cell(values: np.ndarray, digits: int = 1) -> str:
    """The mean over seeds in percent."""
    return f"{100 * np.mean(values):.{digits}f}"


def table(lines: list[dict[str, Any]], costs: Mapping[str, Any], suite: str) -> str:
    """A row for each method: accuracy of each task, their mean, and beside the tuned weights."""
    runs, best = of_suite(lines, suite)
    found = scores(runs, suite)
    base = {seed: of.mean() for seed, of in found[best].items()}
    tasks = SUITES[suite]
    titles = ["method", "looks at", *tasks, "mean", "beside tuned", "of seeds", "time", "MiB"]
    rows = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    simple = [x["test"] for x in lines if (x["suite"], x["method"]) == (suite, "linear")]
    for of, run in zip(simple, runs[EQUAL].values(), strict=False):
        of |= {f"{task}/most frequent class": x for task, x in run["majority"].items()}
    for name in sorted({key.partition("/")[2] for of in simple for key in of}, reverse=True):
        values = [[of[f"{t}/{name}"] for t in tasks] for of in simple]
        mean = np.mean(values, axis=0)
        rows.append(f"| *{name}* | | {' | '.join(map(cell, mean))} | {cell(mean)} | | | | |")
    order = ["alone", *OTHERS[suite], EQUAL, *METHODS[suite]]
    for method in dict.fromkeys(name for name in order if name in found):
        seeds = [seed for seed in found[method] if seed in base]
        values = np.array([found[method][seed] for seed in seeds])
        each = " | ".join(cell(values[:, i]) for i in range(len(tasks)))
        difference = 100 * np.array([found[method][seed].mean() - base[seed] for seed in seeds])
        beside = f"{difference.mean():+.1f}"
        spread = f"{difference.min():+.1f}, {difference.max():+.1f}"
        if len(seeds) < len(base):
            spread += f" ({len(seeds)})"
        cost = costs.get(method, {})
        time = f"{cost['ratio'] / costs[EQUAL]['ratio']:.2f}" if cost else ""
        memory = f"{cost['temporary'] / 2**20:.0f}" if cost else ""
        shown = f"{method} (tuned)" if method == best else method
        rows.append(
            f"| `{shown}` | {kind(method)} | {each} | {cell(values)} | {beside} | {spread} |"
            f" {time} | {memory} |"
        )
    return "\n".join(rows)


def draw(lines: list[dict[str, Any]], file: Path) -> None:
    """The mean accuracy over tasks beside that of tuned weights: a dot a seed, a bar their mean."""
    suites = [s for s in SUITES if any(x["suite"] == s and x["method"] == EQUAL for x in lines)]
    figure = Figure(figsize=(6 * len(suites), 8.5), layout="constrained")
    for axis, suite in zip(np.atleast_1d(figure.subplots(1, len(suites))), suites, strict=True):
        runs, best = of_suite(lines, suite)
        found = scores(runs, suite)
        mean = {
            name: 100 * np.array([of[s].mean() - found[best][s].mean() for s in of])
            for name, of in found.items()
        }
        ordered = sorted(mean, key=lambda name: mean[name].mean())
        colors = {"losses": "tab:blue", "gradients": "tab:orange", "modalities": "tab:green"}
        for place, name in enumerate(ordered):
            of_seeds = mean[name]
            color = colors.get(kind(name), "0.3")
            axis.plot(of_seeds, np.full(len(of_seeds), place), ".", color=color, alpha=0.5)
            axis.plot([of_seeds.mean()], [place], "|", color=color, markersize=12, mew=2.5)
        labels = [f"{name} (tuned)" if name == best else name for name in ordered]
        low = max(-LOWEST, min(x.min() for x in mean.values()))
        axis.set_xlim(low - 0.5, max(x.max() for x in mean.values()) + 0.5)
        for place, name in enumerate(ordered):
            if mean[name].mean() < low:
                axis.text(low, place, f"{mean[name].mean():+.0f}", fontsize=7, va="center")
        axis.set_yticks(range(len(ordered)), labels, fontsize=7)
        axis.axvline(0, color="0.6", linewidth=0.8)
        axis.set_xlabel("points of test accuracy beside tuned fixed weights")
        axis.set_title(suite, fontsize=10)
        axis.grid(axis="y", linewidth=0.3)
    for name, color in colors.items():
        axis.plot([], [], "|", color=color, markersize=10, mew=2.5, label=f"looks at {name}")
    axis.plot([], [], "|", color="0.3", markersize=10, mew=2.5, label="fixed, or no weighting")
    axis.legend(fontsize=7, loc="lower right")
    figure.savefig(file, dpi=80)


def main(results: str, costs: str = "") -> None:
    """Prints a table for each suite and draws the picture beside this file."""
    lines = read(Path(results))
    measured: dict[str, dict[str, Any]] = defaultdict(dict)
    for line in read(Path(costs)) if costs else ():
        measured[line["suite"]][line["method"]] = line
    for suite in SUITES:
        if any(line["suite"] == suite and line["method"] == EQUAL for line in lines):
            print(f"\n### {suite}\n\n{table(lines, measured[suite], suite)}")
    draw(lines, Path(__file__).parent / "weightings.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
