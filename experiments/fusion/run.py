"""Trains every fusion on every controlled task, three seeds each, through mmjax's own trainer.

python experiments/fusion/run.py RUNS [--fusions=NAME,…] [--tasks=NAME,…] [--seeds=0,1,2]

A run that is finished is not repeated, so several of these may be started one after the other.
"""

import argparse
import sys
import time
from pathlib import Path

from mmjax import cli

CONFIG = Path(__file__).parents[2] / "configs" / "fusion.py"
TASKS = {"redundant": 5, "unique": 5, "xor": 2, "sum": 5}  # task: number of symbols


def names(text: str) -> list[str]:
    """The words between commas."""
    return [word for word in text.split(",") if word]


def main() -> None:
    """Runs them all, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--fusions", type=names, default=[])
    parser.add_argument("--tasks", type=names, default=list(TASKS))
    parser.add_argument("--seeds", type=names, default=["0", "1", "2"])
    arguments = parser.parse_args()
    cli.prepare_devices()

    from rich.console import Console

    from mmjax import build
    from mmjax.models.decision import COMBINATIONS
    from mmjax.train import run
    from mmjax.train.interrupt import Interrupts
    from mmjax.train.writers import read_metrics

    decisions = [f"decision_{rule}" for rule in COMBINATIONS]
    with Interrupts() as interrupts:
        for seed in arguments.seeds:
            for fusion in arguments.fusions or (*build.FUSIONS, *decisions):
                for task in arguments.tasks:
                    directory = arguments.runs / task / f"{fusion}-{seed}"
                    if (directory / "confusion.png").exists():
                        continue
                    config = cli.load_config(str(CONFIG))
                    config.seed = int(seed)
                    kind, _, rule = fusion.partition("decision_")
                    config.fusion.name, config.decision = kind or "concat", rule
                    config.data.options.task = task
                    config.data.options.classes = TASKS[task]
                    cli.use_compilation_cache(config.compilation_cache)
                    begun = time.monotonic()
                    path, experiment = build.experiment(config, str(directory))
                    with (path / "log.txt").open("w") as log:
                        run.train(experiment, path, Console(file=log, width=100), interrupts)
                    accuracy = read_metrics(path)[-1]["test/accuracy/complete"]
                    seconds = time.monotonic() - begun
                    print(f"{task} {fusion} {seed}: {accuracy:.4f}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
