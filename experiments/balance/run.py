"""Trains every method at every noise, three seeds each, through mmjax's own step.

python experiments/balance/run.py RUNS [--noises=NAME,…] [--seeds=0,1,2] [--rows=NAME,…]

Each run is one line of RUNS/results.jsonl, and what is there is not repeated: an interrupted study
goes on where it stopped. First come the models of one modality and plain joint training at three
learning rates; the best on validation, over all seeds at one noise, is that of the rest.
"""

import argparse
import functools
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from methods import (
    EVALUATIONS,
    METHODS,
    MODALITIES,
    NOISES,
    RATES,
    SEEDS,
    STEPS,
    TUNED_AT,
    Known,
    recipe,
)
from ml_collections import ConfigDict
from rich.console import Console

from mmjax import cli, factory
from mmjax.factory import make_experiment
from mmjax.tasks.task import inputs_of
from mmjax.train.checkpoints.checkpoint import Checkpoints
from mmjax.train.run import Run
from mmjax.train.weighting import gradient_blending

# Runs are so short that most of the time would be the compiler's.
FLAGS = "--xla_llvm_disable_expensive_passes=true --xla_backend_optimization_level=1"
CACHE = "~/.cache/mmjax/compiled"
LONGER = {"twice as long": 2, "four times as long": 4}
SPANS = (0.25, 1.0)  # of training, that gradient blending measures
Line = dict[str, Any]


class Results:
    """The lines of results.jsonl, and what they say."""

    def __init__(self, runs: Path):
        self.runs, self.file = runs, runs / "results.jsonl"
        runs.mkdir(parents=True, exist_ok=True)
        text = self.file.read_text() if self.file.exists() else ""
        self.lines: list[Line] = [json.loads(line) for line in text.splitlines()]

    def add(self, line: Line) -> None:
        """One more."""
        self.lines.append(line)
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def of(self, **wanted: Any) -> list[Line]:
        """The lines that say this."""
        return [x for x in self.lines if all(x[key] == value for key, value in wanted.items())]

    def rate(self, row: str) -> float:
        """The learning rate of the best validation accuracy at TUNED_AT, on average over seeds."""
        mean = {
            rate: np.mean([x["validation"] for x in self.of(row=row, rate=rate, noise=TUNED_AT)])
            for rate in RATES
        }
        return max(mean, key=mean.get)


@functools.lru_cache(maxsize=1)
def splits(noise: str, seed: int) -> Mapping[str, Any]:
    """The data of a noise and a seed, read once."""
    return make_experiment.sources(factory.checked(recipe(noise, seed, RATES[0])))


def train(
    config: ConfigDict, data: Mapping[str, Any], directory: Path, *, spans: bool
) -> tuple[Line, Any, Run]:
    """A run: what it scored with its best evaluation, its state there, and what ran.

    Args:
        config: of the run.
        data: its splits.
        directory: its workdir, made anew; the checkpoint of a model of one modality is put there.
        spans: whether its losses are measured at the ends of SPANS.
    """
    shutil.rmtree(directory, ignore_errors=True)
    cli.use_compilation_cache(CACHE)
    begun = time.monotonic()
    path, experiment = factory.experiment(factory.checked(config), str(directory), data=data)
    run = Run(experiment, path, Console(quiet=True))
    state, batches = run.start(), experiment.train_data()
    steps = config.train.steps
    measured, losses, best, kept = {round(steps * x) for x in (0, *SPANS)}, {}, -1.0, state
    for step in range(steps + 1):
        if spans and step in measured:
            losses[step / steps] = [
                run.evaluate(state.eval_variables, split).metrics["cross_entropy"]
                for split in ("train", "validation")
            ]
        if step and step % (steps // EVALUATIONS) == 0:
            accuracy = run.evaluate(state.eval_variables, "validation").metrics["accuracy"]
            if accuracy > best:
                best, kept = accuracy, jax.tree.map(np.array, state)
        if step < steps:
            state, _ = run.train_step(state, run.put(next(batches)))
    assert int(state.skipped) == 0
    found: Line = {"validation": float(best), "losses": losses, "step": int(kept.step)}
    found["test"] = float(run.evaluate(kept.eval_variables, "test").metrics["accuracy"])
    if len(config.modalities) > 1:
        for name in config.modalities:
            alone = run.evaluate(kept.eval_variables, "test", only=name).metrics["accuracy"]
            found[f"{name} alone"] = float(alone)
    else:
        Checkpoints(path).save(int(kept.step), kept, batches, {}, best, wait=True)
    batches.close()
    return found | {"seconds": round(time.monotonic() - begun, 2)}, kept, run


def log_probabilities(run: Run, variables: Any, split: str) -> np.ndarray:
    """Of each class, for each row of a split [rows C]."""
    model, tasks = run.experiment.model, run.experiment.tasks
    apply = jax.jit(lambda v, b: jax.nn.log_softmax(model.apply(v, inputs_of(tasks, b))["label"]))
    batches = run.experiment.eval_data(split)
    return np.concatenate([np.asarray(apply(variables, b))[b["_mask"]] for b in batches])


def labels(run: Run, split: str) -> np.ndarray:
    """The right answers of a split [rows]."""
    return np.concatenate(
        [batch["targets/label"][batch["_mask"]] for batch in run.experiment.eval_data(split)]
    )


def blending_weights(results: Results, noise: str, seed: int) -> dict[float, tuple[float, ...]]:
    """By span, the weights of all modalities together and of each alone."""
    where = {"noise": noise, "seed": seed}
    found = []
    for row in ("plain", *MODALITIES):
        (line,) = results.of(row=row, rate=results.rate(row), **where)
        found.append({float(span): pair for span, pair in line["losses"].items()})
    weights = {}
    for span in SPANS:
        (train_before, val_before), (train_after, val_after) = (
            np.array([losses[at] for losses in found], np.float32).T for at in (0.0, span)
        )
        given = map(jax.numpy.asarray, (train_before, train_after, val_before, val_after))
        weights[span] = tuple(float(x) for x in gradient_blending(*given))
    return weights


def wanted(rows: list[str]) -> Iterator[tuple[str, float | None]]:
    """The rows that a noise and a seed have once learning rates are chosen, with strengths."""
    for row in (x for x in LONGER if x in rows):
        yield row, None
    for row, (_, strengths) in METHODS.items():
        yield from ((row, strength) for strength in strengths if row in rows)


def first(results: Results, work: Path, noise: str, seed: int, *, tuning: bool) -> None:
    """Each modality alone and plain joint training, at all learning rates or at the chosen one."""
    for row in (*MODALITIES, "plain"):
        for rate in RATES if tuning else (results.rate(row),):
            key: Line = {"noise": noise, "seed": seed, "row": row, "rate": rate}
            if results.of(**key):
                continue
            config = recipe(noise, seed, rate)
            config.modalities = MODALITIES if row == "plain" else (row,)
            directory = place(results.runs, key) if row in MODALITIES else work
            found, state, run = train(config, splits(noise, seed), directory, spans=True)
            if row in MODALITIES:
                say(directory, run, state.eval_variables)
            results.add(key | {"strength": None} | found)
            print(json.dumps(results.lines[-1]), flush=True)


def place(runs: Path, key: Mapping[str, Any]) -> Path:
    """Where a model of one modality is kept."""
    return (
        runs
        / "alone"
        / "{noise}-{seed}-{row}-{rate}".format(**key).replace(" ", "").replace(",", "-")
    )


def say(directory: Path, run: Run, variables: Any) -> None:
    """Keeps what a model says of each row."""
    said = {split: log_probabilities(run, variables, split) for split in ("validation", "test")}
    truth = {f"{split} labels": labels(run, split) for split in said}
    np.savez_compressed(directory / "said.npz", **said, **truth)


def fuse(results: Results, key: Line, places: Iterable[str]) -> None:
    """The mean of the log-probabilities of models of one modality each."""
    key = key | {"strength": None, "rate": None}
    if results.of(**key):
        return
    said = [np.load(Path(path) / "said.npz") for path in places]
    right = {
        split: sum(x[split] for x in said).argmax(axis=1) == said[0][f"{split} labels"]
        for split in ("validation", "test")
    }
    found = {split: float(rows.mean()) for split, rows in right.items()}
    results.add(key | found | {"losses": {}, "seconds": 0.0})


def longest(results: Results, noise: str, seed: int) -> None:
    """Each modality alone for as long as the longest joint training, and their late fusion."""
    where, last = {"noise": noise, "seed": seed}, list(LONGER)[-1]
    places = []
    for name in MODALITIES:
        rate = results.rate(name)
        key: Line = where | {"row": f"{name}, {last}", "rate": rate, "strength": None}
        places.append(place(results.runs, key))
        if results.of(**key):
            continue
        config = recipe(noise, seed, rate, STEPS * LONGER[last])
        config.modalities = (name,)
        found, state, run = train(config, splits(noise, seed), places[-1], spans=False)
        say(places[-1], run, state.eval_variables)
        results.add(key | found)
        print(json.dumps(results.lines[-1]), flush=True)
    fuse(results, where | {"row": f"late fusion, {last}"}, map(str, places))


def rest(results: Results, work: Path, noise: str, seed: int, rows: list[str]) -> None:
    """What needs the chosen learning rates: longer training, late fusion and all methods."""
    where = {"noise": noise, "seed": seed}
    teachers = {
        name: str(place(results.runs, where | {"row": name, "rate": results.rate(name)}))
        for name in MODALITIES
    }
    if "late fusion" in rows:
        fuse(results, where | {"row": "late fusion"}, teachers.values())
    rate = results.rate("plain")
    known = Known(teachers, blending_weights(results, noise, seed))
    for row, strength in wanted(rows):
        key = where | {"row": row, "strength": strength, "rate": rate}
        if results.of(**key):
            continue
        config = recipe(noise, seed, rate, STEPS * LONGER.get(row, 1))
        if row in METHODS:
            METHODS[row][0](config, strength, known)
        found, _, _ = train(config, splits(noise, seed), work, spans=False)
        results.add(key | found)
        print(json.dumps(results.lines[-1]), flush=True)


def words(text: str) -> list[str]:
    """The words between commas."""
    return [word for word in text.split(",") if word]


def main() -> None:
    """Runs them all, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--noises", type=words, default=sorted(NOISES, key=lambda x: x != TUNED_AT))
    parser.add_argument("--seeds", type=words, default=list(map(str, SEEDS)))
    parser.add_argument("--rows", type=words, default=["late fusion", *LONGER, *METHODS])
    arguments = parser.parse_args()
    os.environ.setdefault("XLA_FLAGS", FLAGS)
    results, work = Results(arguments.runs), arguments.runs / "work"
    seeds = list(map(int, arguments.seeds))
    for seed in seeds:
        first(results, work, TUNED_AT, seed, tuning=True)
    for noise, seed in itertools.product(arguments.noises, seeds):
        first(results, work, noise, seed, tuning=False)
        rest(results, work, noise, seed, arguments.rows)
    for noise, seed in itertools.product(arguments.noises, seeds):
        longest(results, noise, seed)


if __name__ == "__main__":
    sys.exit(main())
