"""Trains every weighting of tasks, and every way to mix them, on small sizes of two recipes.

PYTHONPATH=. python experiments/multitask/run.py RESULTS.jsonl [--suites=trimodal,vqa]
    [--methods=NAME,…] [--seeds=0,1,2]

Each run adds a line to RESULTS.jsonl; what is there is not run again. Nothing else is kept.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from methods import METHODS, SUITES, configure

from mmjax import cli


def names(text: str) -> list[str]:
    """The words between commas."""
    return [word for word in text.split(",") if word]


class Trainer:
    """Runs of one method: seeds share a compiled step, and methods share the data."""

    def __init__(self):
        self._splits: dict[str, Any] = {}
        self._step: tuple[tuple[str, str], Any] | None = None

    def experiment(self, config: Any, directory: str) -> tuple[Path, Any]:
        """The experiment of a config, with data that are read once."""
        from mmjax import factory
        from mmjax.factory.make_experiment import sources

        config = factory.checked(config)
        key = config.data.to_json()
        if key not in self._splits:
            self._splits[key] = sources(config)
        return factory.experiment(config, directory, data=self._splits[key])

    def train(self, suite: str, method: str, config: Any) -> dict[str, Any]:
        """One run: what the last parameters reach on the validation and test split."""
        from rich.console import Console

        from mmjax.train.run import Run

        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as directory:
            path, experiment = self.experiment(config, directory)
            run = Run(experiment, path, Console(quiet=True))
            state, data = run.create(), experiment.train_data()
            if self._step is None or self._step[0] != (suite, method):
                self._step = (suite, method), run._train_step
            step = self._step[1]
            try:
                state, _ = step(state, run.put(next(data)))
                compiled = time.monotonic()
                for _ in range(config.train.steps - 1):
                    state, _ = step(state, run.put(next(data)))
                skipped = int(state.skipped)
            finally:
                data.close()
            trained = time.monotonic()
            found = {"skipped": skipped, "steps": config.train.steps}
            for split in ("validation", "test"):
                result = run.evaluate(state.eval_variables, split)
                found[split] = result.metrics
            found["majority"] = {
                name: task.baselines(result.rows[name])["majority class"]
                for name, task in experiment.tasks.items()
            }
        return found | {
            "start_seconds": round(compiled - begun, 1),
            "train_seconds": round(trained - compiled, 1),
            "end_seconds": round(time.monotonic() - trained, 1),
        }


def linear(config: Any) -> dict[str, Any]:
    """Linear models of simple features, and the most frequent class, on the test split."""
    from mmjax import factory

    config.train.baselines = True
    with tempfile.TemporaryDirectory() as directory:
        _, experiment = factory.experiment(factory.checked(config), directory)
        scores = experiment.baselines()
        test: dict[str, float] = {}
        for task, of in scores.items():
            test |= {f"{task}/{name}": score for name, score in of.scores.items()}
    return {"test": test}


def main() -> None:
    """Runs them all, seed by seed and one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--suites", type=names, default=list(SUITES))
    parser.add_argument("--methods", type=names, default=[])
    parser.add_argument("--seeds", type=names, default=["0", "1", "2"])
    arguments = parser.parse_args()
    cli.prepare_devices()
    cli.use_compilation_cache("~/.cache/mmjax/compiled")
    trainer, done = Trainer(), set()
    if arguments.results.exists():
        lines = map(json.loads, arguments.results.read_text().splitlines())
        done = {(line["suite"], line["method"], line["seed"]) for line in lines}
    for suite in arguments.suites:
        for method in arguments.methods or METHODS[suite]:
            for seed in map(int, arguments.seeds):
                if (suite, method, seed) in done:
                    continue
                config = configure(suite, method, seed)
                if method == "linear":
                    found = linear(config)
                else:
                    found = trainer.train(suite, method, config)
                line = {"suite": suite, "method": method, "seed": seed, **found}
                with arguments.results.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                shown = {k: round(v, 3) for k, v in found["test"].items() if "accuracy" in k}
                print(
                    suite,
                    method,
                    seed,
                    shown,
                    *(v for k, v in found.items() if "seconds" in k),
                    flush=True,
                )


if __name__ == "__main__":
    sys.exit(main())
