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


def train(config: Any) -> dict[str, Any]:
    """One run: what the last parameters reach on the validation and test split."""
    from rich.console import Console

    from mmjax import factory
    from mmjax.train.run import Run

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        path, experiment = factory.experiment(factory.checked(config), directory)
        run = Run(experiment, path, Console(quiet=True))
        state, data = run.create(), experiment.train_data()
        try:
            state, _ = run.train_step(state, run.put(next(data)))
            compiled = time.monotonic()
            for _ in range(config.train.steps - 1):
                state, _ = run.train_step(state, run.put(next(data)))
            skipped = int(state.skipped)
        finally:
            data.close()
        trained = time.monotonic()
        variables = {"params": state.params, **state.model_state}
        if state.ema_params is not None:
            variables["params"] = state.ema_params
        found = {"skipped": skipped, "steps": config.train.steps}
        for split in ("validation", "test"):
            found[split] = run.evaluate(variables, split).metrics
    return found | {
        "start_seconds": round(compiled - begun, 1),
        "train_seconds": round(trained - compiled, 1),
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
    done = set()
    if arguments.results.exists():
        lines = map(json.loads, arguments.results.read_text().splitlines())
        done = {(line["suite"], line["method"], line["seed"]) for line in lines}
    for suite in arguments.suites:
        for method in arguments.methods or METHODS[suite]:
            for seed in map(int, arguments.seeds):
                if (suite, method, seed) in done:
                    continue
                config = configure(suite, method, seed)
                found = (linear if method == "linear" else train)(config)
                line = {"suite": suite, "method": method, "seed": seed, **found}
                with arguments.results.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                shown = {k: round(v, 3) for k, v in found["test"].items() if "accuracy" in k}
                print(suite, method, seed, shown, found.get("train_seconds"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
