"""What studies share: their command lines, which runs are left, and a run that logs to a file."""

import argparse
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from mmjax import cli, factory


class Trained(NamedTuple):
    """A run: its workdir, the experiment, how many seconds it took, and its last metrics."""

    path: Path
    experiment: Any
    seconds: float
    metrics: dict[str, Any]


def names(text: str) -> list[str]:
    """The words between commas."""
    return [word for word in text.split(",") if word]


def command_line(description: str | None, **known: Iterable[str]) -> argparse.ArgumentParser:
    """RUNS [--KEY=NAME,…] [--seeds=0,1,2], for each key of `known`: all its names by default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("runs", type=Path)
    for key, usual in (known | {"seeds": "012"}).items():
        parser.add_argument(f"--{key}", type=names, default=list(usual))
    return parser


def unfinished(
    runs: Path, labels: Iterable[str], seeds: Iterable[str], result: str
) -> Iterator[tuple[str, int, Path]]:
    """A label, a seed and the workdir of each run whose workdir does not hold the file `result`."""
    for seed in seeds:
        for label in labels:
            directory = runs / f"{label}-{seed}"
            if not (directory / result).exists():
                yield label, int(seed), directory


def train(config: ConfigDict, directory: Path) -> Trained:
    """Trains and tests in a workdir; a signal ends the program when what it learned is saved.

    Args:
        config: see `factory.checked`.
        directory: the workdir; log.txt there gets what would be printed.
    """
    from rich.console import Console

    from mmjax.train import run
    from mmjax.train.host.signals import Interrupts
    from mmjax.train.reporting.writers import read_metrics

    cli.use_compilation_cache(config.compilation_cache)
    begun = time.monotonic()
    with Interrupts() as interrupts:
        path, experiment = factory.experiment(config, str(directory))
        with (path / "log.txt").open("w") as log:
            run.train(experiment, path, Console(file=log, width=100), interrupts)
    return Trained(path, experiment, time.monotonic() - begun, read_metrics(path)[-1])
