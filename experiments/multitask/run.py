"""Trains every weighting of tasks, and every way to mix them, on small sizes of two recipes.

PYTHONPATH=. python experiments/multitask/run.py RESULTS.jsonl [--suites="trimodal;vqa"]
    [--methods="NAME;…"] [--seeds="0;1;2"]

Each run adds a line to RESULTS.jsonl; what is there is not run again. Nothing else is kept.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from branches import one_of_aggregators, one_of_weightings, with_choice
from methods import EQUAL, GRADIENTS, GRID, LOSSES, METHODS, SUITES, configure

from mmjax import cli


def names(text: str) -> list[str]:
    """What stands between semicolons."""
    return [name for name in text.split(";") if name]


class Prepared(NamedTuple):
    """A seed of a suite for a group of methods: a run and its first state."""

    run: Any
    state: Any


class Trainer:
    """Runs of methods: those of a group are branches of one program, which is compiled once."""

    def __init__(self):
        self._splits: dict[str, Any] = {}
        self._prepared: dict[tuple[str, ...], Prepared] = {}
        self._steps: dict[tuple[str, ...], Any] = {}

    def experiment(self, config: Any, directory: str) -> tuple[Path, Any]:
        """The experiment of a config, with data that are read once."""
        from mmjax import factory
        from mmjax.factory.make_experiment import sources

        key = config.data.to_json()
        if key not in self._splits:
            self._splits[key] = sources(config)
        return factory.experiment(config, directory, data=self._splits[key])

    def prepared(self, suite: str, method: str, seed: int) -> tuple[Prepared, Any]:
        """The run of a method with its first state, and the step that it makes."""
        from rich.console import Console

        from mmjax import factory
        from mmjax.factory.make_weighting import task_weights
        from mmjax.train.run import Run

        group = group_of(method)
        kind = (suite, *(group or (method,)))
        if (*kind, str(seed)) not in self._prepared:
            config = factory.checked(configure(suite, group[0] if group else method, seed))
            path, experiment = self.experiment(config, tempfile.mkdtemp())
            if group:
                configs = [factory.checked(configure(suite, name, seed)) for name in group]
                ways = [task_weights(config) for config in configs]
                if experiment.aggregator is None:
                    made = {"weighting": one_of_weightings([way.weighting for way in ways])}
                else:
                    made = {"aggregator": one_of_aggregators([way.aggregator for way in ways])}
                experiment = dataclasses.replace(experiment, **made)
            run = Run(experiment, path, Console(quiet=True))
            self._prepared[*kind, str(seed)] = Prepared(run, run.create())
            self._steps.setdefault(kind, run.program.step)
        run, state = self._prepared[*kind, str(seed)]
        return Prepared(
            run, with_choice(state, group.index(method) if group else None)
        ), self._steps[kind]

    def train(self, suite: str, method: str, seed: int) -> dict[str, Any]:
        """One run: what the last parameters reach on the validation and test split."""
        begun = time.monotonic()
        (run, state), step = self.prepared(suite, method, seed)
        steps, data = configure(suite, method, seed).train.steps, run.experiment.train_data()
        try:
            state, _ = step(state, run.put(next(data)))
            compiled = time.monotonic()
            for _ in range(steps - 1):
                state, _ = step(state, run.put(next(data)))
            skipped = int(state.skipped)
        finally:
            data.close()
        trained = time.monotonic()
        found = {"skipped": skipped, "steps": steps}
        for split in ("validation", "test"):
            result = run.evaluate(state.eval_variables, split)
            found[split] = result.metrics
        found["majority"] = {
            name: task.baselines(result.rows[name])["majority class"]
            for name, task in run.experiment.tasks.items()
        }
        return found | {
            "start_seconds": round(compiled - begun, 1),
            "train_seconds": round(trained - compiled, 1),
            "end_seconds": round(time.monotonic() - trained, 1),
        }


def group_of(method: str) -> tuple[str, ...]:
    """The methods that are branches of one program with a method; () for one of its own."""
    fixed = (EQUAL, *(f"fixed {weights}" for weights in GRID))
    groups = (
        (*fixed, *(name for name in LOSSES if name != "famo")),
        GRADIENTS,
    )
    return next((group for group in groups if method in group), ())


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
                if method == "linear":
                    found = linear(configure(suite, method, seed))
                else:
                    found = trainer.train(suite, method, seed)
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
