"""Prints the table of the README from finished runs: mean ± standard deviation over seeds.

python experiments/transfer/table.py RUNS
"""

import json
import statistics
import sys
from pathlib import Path

WAYS = ("scratch", "frozen", "lora", "full")
PAIRS = ("image-text", "image-speech", "text-speech")


def spread(values: list[float]) -> str:
    """Mean ± population standard deviation; of a single value itself."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.pstdev(values):.1f}"


def main() -> None:
    """Reads RUNS/WAY-SEED/result.json."""
    runs = Path(sys.argv[1])
    names = [f"R@{k} {pair}" for pair in PAIRS for k in (1, 5, 10)]
    print("| way | seeds | parameters | trained | " + " | ".join(names) + " |")
    print("|---" * (4 + len(names)) + "|")
    for way in WAYS:
        found = [json.loads(f.read_text()) for f in sorted(runs.glob(f"{way}-*/result.json"))]
        if not found:
            continue
        cells = [
            spread([100 * run[f"test/recall_at_{k}/{pair}"] for run in found])
            for pair in PAIRS
            for k in (1, 5, 10)
        ]
        sizes = [f"{found[0][key]:,}" for key in ("parameters", "trained")]
        print(f"| `{way}` | {len(found)} | " + " | ".join([*sizes, *cells]) + " |")


if __name__ == "__main__":
    main()
