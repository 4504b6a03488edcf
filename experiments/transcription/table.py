"""The table of this study, from the workdirs of its runs.

python experiments/transcription/table.py RUNS   (RUNS holds VOICE-SEED, as run.sh makes them)
"""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from mmjax.train.reporting.writers import read_metrics

GROUPS = ("known voice", "new voice")
METRICS = ("word_error_rate", "character_error_rate")


def show(values: list[float]) -> str:
    """In percent: the mean, and the standard deviation of several."""
    mean = f"{100 * np.mean(values):.1f}"
    return f"{mean} ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else mean


def main() -> None:
    """Prints a row for each new voice."""
    found = defaultdict(lambda: defaultdict(list))
    for directory in sorted(Path(sys.argv[1]).glob("*-*")):
        records = read_metrics(directory) if directory.is_dir() else []
        if not records or f"test/{METRICS[0]}" not in records[-1]:
            continue
        for metric in METRICS:
            for group in GROUPS:
                value = records[-1][f"test/{metric}/{group}"]
                found[directory.name.rsplit("-", 1)[0]][metric, group].append(value)
    columns = [(metric, group) for group in GROUPS for metric in METRICS]
    print("| new voice | seeds | WER, known voices | CER | WER, new voice | CER |")
    print("|---|---|---|---|---|---|")
    for voice, values in found.items():
        seeds = len(values[columns[0]])
        print(f"| {voice} | {seeds} | {' | '.join(show(values[key]) for key in columns)} |")


if __name__ == "__main__":
    main()
