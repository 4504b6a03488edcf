"""Prints the table of the study in Markdown, and draws it.

python experiments/balance/table.py RUNS [--picture=accuracy.png]
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from methods import METHODS, MODALITIES, NOISES
from run import LONGER, Line, Results
from scipy.stats import ttest_rel

LAST = list(LONGER)[-1]
ALONE = (
    "image",
    "audio",
    "late fusion",
    *(f"{x}, {LAST}" for x in ("image", "audio", "late fusion")),
)
BASES = (*ALONE, "plain", *LONGER)
NAMES = {"image": "image alone", "audio": "audio alone", "plain": "plain joint training"}
NAMES |= {f"{x}, {LAST}": f"{x} alone, {LAST}" for x in MODALITIES}


def complete(results: Results) -> tuple[list[int], list[str]]:
    """The seeds, and the rows that all of them have at all noises."""
    seeds = sorted({line["seed"] for line in results.lines})
    places = [(noise, seed) for noise in NOISES for seed in seeds]
    rows = [
        row
        for row in (*BASES, *METHODS)
        if all(results.of(row=row, noise=noise, seed=seed) for noise, seed in places)
    ]
    return seeds, rows


def chosen(results: Results, row: str, noise: str, seeds: list[int]) -> tuple[Any, list[Line]]:
    """The strength that is the best on validation at this noise, or the learning rate that was
    chosen for all, and the lines by seed."""
    by_option: dict[Any, list[Line]] = {}
    for line in results.of(row=row, noise=noise):
        option = line["strength"] if row in METHODS else line["rate"]
        by_option.setdefault(option, []).append(line)
    found = {
        option: sorted((x for x in lines if x["seed"] in seeds), key=lambda x: x["seed"])
        for option, lines in by_option.items()
    }
    tuned = row in (*MODALITIES, "plain")
    best = max(found, key=lambda option: mean(found[option], "validation"))
    best = results.rate(row) if tuned else best
    return best, found[best]


def mean(lines: list[Line], key: str) -> float:
    """Of some lines."""
    return float(np.mean([line[key] for line in lines]))


def spread(values: Any) -> str:
    """Mean and standard deviation, in percent."""
    values = 100 * np.asarray(values)
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"


def tests(lines: list[Line]) -> np.ndarray:
    """The test accuracies."""
    return np.array([line["test"] for line in lines])


def table(results: Results, seeds: list[int], rows: list[str]) -> str:
    """A row for each way to train, columns by noise, and paired differences over all."""
    picked = {row: {noise: chosen(results, row, noise, seeds) for noise in NOISES} for row in rows}
    scores = {
        row: np.concatenate([tests(lines) for _, lines in of.values()])
        for row, of in picked.items()
    }
    head = ["way to train", *NOISES, "less plain", "p", "higher"]
    head += ["less four times as long", "p", "higher", "chosen"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row, of in picked.items():
        cells = [NAMES.get(row, row if row in BASES else f"`{row}`")]
        cells += [spread(tests(found)) for _, found in of.values()]
        for other in ("plain", "four times as long"):
            gaps = scores[row] - scores[other]
            same = row == other or not gaps.any()
            p = probability(scores[row], scores[other])
            higher = f"{np.sum(gaps > 0)} of {len(gaps)}"
            cells += [""] * 3 if same else [spread(gaps), p, higher]
        cells.append(", ".join(option(results, row, noise, x, seeds) for noise, x in of.items()))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def probability(a: np.ndarray, b: np.ndarray) -> str:
    """Of a difference as large by chance, by a paired t-test."""
    p = ttest_rel(a, b).pvalue
    return f"{p:.3f}" if p >= 0.001 else "below 0.001"


def option(results: Results, row: str, noise: str, found: Any, seeds: list[int]) -> str:
    """What was chosen, and a star where validation preferred plain training."""
    best, lines = found
    if best is None:
        return "-"
    _, plain = chosen(results, "plain", noise, seeds)
    worse = row in METHODS and mean(lines, "validation") < mean(plain, "validation")
    return f"{best:g}" + "*" * worse


def shares(results: Results, seeds: list[int], rows: list[str]) -> str:
    """What each modality is good for alone, of joint models as they are, and what a run takes."""
    rows = [row for row in rows if row not in ALONE]
    head = ["way to train"]
    head += [f"{name}, {noise}" for noise in NOISES for name in MODALITIES] + ["seconds"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        cells, seconds = [NAMES.get(row, row if row in LONGER else f"`{row}`")], []
        for noise in NOISES:
            _, found = chosen(results, row, noise, seeds)
            cells += [f"{100 * mean(found, f'{name} alone'):.0f}" for name in MODALITIES]
            seconds += [line["seconds"] for line in found]
        lines.append("| " + " | ".join([*cells, f"{np.median(seconds):.0f}"]) + " |")
    return "\n".join(lines)


def draw(results: Results, seeds: list[int], rows: list[str], path: Path) -> None:
    """A dot for each seed and a bar at their mean, a panel for each noise."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (4 * len(NOISES), 0.32 * len(rows) + 1.2)
    figure, panels = pyplot.subplots(
        1, len(NOISES), figsize=size, sharey=True, layout="constrained"
    )
    for axes, noise in zip(panels, NOISES, strict=True):
        for place, row in enumerate(rows):
            _, lines = chosen(results, row, noise, seeds)
            color = "tab:grey" if row in ALONE else "tab:blue" if row in BASES else "tab:orange"
            axes.plot(100 * tests(lines), [place] * len(lines), "o", color=color, alpha=0.4, ms=4)
            axes.plot(100 * tests(lines).mean(), place, "|", color=color, ms=14, mew=3)
            if row == "plain":
                axes.axvline(100 * tests(lines).mean(), color=color, lw=0.8)
        axes.set_title(f"speech: {noise}" if noise == "clean" else f"speech at {noise}")
        axes.set_xlabel("test accuracy, %")
        axes.set_yticks(range(len(rows)), [NAMES.get(row, row.replace("_", " ")) for row in rows])
    panels[0].invert_yaxis()
    figure.savefig(path, dpi=90)


def main() -> None:
    """Prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    results = Results(arguments.runs)
    seeds, rows = complete(results)
    print(f"seeds {seeds}\n\n{table(results, seeds, rows)}\n\n{shares(results, seeds, rows)}")
    if arguments.picture:
        draw(results, seeds, rows, arguments.picture)


if __name__ == "__main__":
    main()
