"""What studies share: words of their command lines, and a run that logs to its workdir."""

import time
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmjax import cli, factory


def names(text: str) -> list[str]:
    """The words between commas."""
    return [word for word in text.split(",") if word]


def train(config: ConfigDict, directory: Path, interrupts: Any) -> tuple[Path, Any, float]:
    """Trains and tests in a workdir.

    Args:
        config: see `factory.checked`.
        directory: the workdir; log.txt there gets what would be printed.
        interrupts: of signals.

    Returns:
        The workdir, the experiment, and how many seconds it took.
    """
    from rich.console import Console

    from mmjax.train import run

    cli.use_compilation_cache(config.compilation_cache)
    begun = time.monotonic()
    path, experiment = factory.experiment(config, str(directory))
    with (path / "log.txt").open("w") as log:
        run.train(experiment, path, Console(file=log, width=100), interrupts)
    return path, experiment, time.monotonic() - begun
