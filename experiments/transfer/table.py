"""Prints the table of the README from finished runs: mean ± standard deviation over seeds.

python experiments/transfer/table.py RUNS
"""

import json
import statistics
import sys
from pathlib import Path

WAYS = ("scratch", "frozen", "lora", "full", "spectrogram_nothing", "spectrogram_photographs")
PAIRS = ("image-text", "image-speech", "text-speech")


def spread(values: list[float]) -> str:
    """Mean ± population standard deviation; of a single value itself; nothing of none."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.pstdev(values):.1f}"


def recall(run: dict, k: int, pair: str) -> float | None:
    """Of a pair; a run of two modalities has only one, and does not name it."""
    found = run.get(f"test/recall_at_{k}/{pair}")
    alone = run.get(f"test/recall_at_{k}") if pair == "text-speech" else None
    return alone if found is None else found


def main() -> None:
    """Reads RUNS/WAY-SEED/result.json."""
    runs = Path(sys.argv[1])
    names = [f"R@{k} {pair}" for pair in PAIRS for k in (1, 5, 10)]
    print("| way | seeds | parameters | trained | " + " | ".join(names) + " | minutes |")
    print("|---" * (5 + len(names)) + "|")
    for way in WAYS:
        found = [json.loads(f.read_text()) for f in sorted(runs.glob(f"{way}-*/result.json"))]
        if not found:
            continue
        recalls = [[recall(run, k, pair) for run in found] for pair in PAIRS for k in (1, 5, 10)]
        cells = [spread([100 * x for x in values if x is not None]) for values in recalls]
        cells.append(spread([run["seconds"] / 60 for run in found]))
        sizes = [f"{found[0][key]:,}" for key in ("parameters", "trained")]
        print(f"| `{way}` | {len(found)} | " + " | ".join([*sizes, *cells]) + " |")


if __name__ == "__main__":
    main()
