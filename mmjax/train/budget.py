"""How many steps of training fit into a given time, by a measurement."""

import itertools
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from rich.console import Console

from mmjax.train.experiment import Experiment
from mmjax.train.run import Run

MEASURED, PREPARING = 2.0, 0.25  # seconds of steps, at least; share of the time, at most
MAX_STEPS, BATCHES = 100, 4  # steps and batches of an evaluation that are measured, at most
EVALUATIONS = 10  # of the validation split in a run, as far as they are not to be counted on


def affordable_steps(
    experiment: Experiment, directory: Path, seconds: float, prepared: int = 0
) -> int:
    """The steps of training that take so long, with evaluations, compilation and the test.

    Nothing of what is trained for this is kept. Processes of one run agree on the number.

    Args:
        experiment: the run.
        directory: its workdir.
        seconds: for all of it.
        prepared: batches that say nothing of how fast data come later: they are ready before they
            are asked for, or they are an epoch that is kept in memory once it was read. They are
            read before steps are measured, for PREPARING of the time at the most.
    """
    begun = time.monotonic()
    run = Run(experiment, directory, Console(quiet=True))
    state, data = run.create(), experiment.train_data()
    try:
        state, _ = jax.block_until_ready(run.train_step(state, run.put_training(next(data))))
        compiled = time.monotonic()
        for _ in range(prepared):
            if time.monotonic() - compiled > PREPARING * seconds:
                break
            next(data)
        started, count = time.monotonic(), 0
        # All processes take as many steps: they wait for each other in each.
        while _agreed(count < MAX_STEPS and time.monotonic() - started < MEASURED):
            state, _ = jax.block_until_ready(run.train_step(state, run.put_training(next(data))))
            count += 1
        step = (time.monotonic() - started) / count
    finally:
        data.close()
    batches = experiment.eval_data("validation")
    variables = run.whole(state.eval_variables)
    # What is kept in memory is read faster the second time; the very first batch compiles, too.
    first, again = (_spans(run, variables, batches) for _ in range(2))
    once, later = float(np.median(first[1:] or again)), float(np.median(again))
    # The test split is about as large, and each modality is also shown alone.
    times = EVALUATIONS + 1 + len(experiment.example)
    spent = time.monotonic() - begun
    reading = max(once - later, 0.0) * (2 * len(batches) - len(again))
    rest = seconds - spent - reading - times * later * len(batches)
    return _agreed(min(max(1, math.floor(rest / step)), 2**31 - 1))


def _spans(run: Run, variables: Any, batches: Iterable[Any]) -> list[float]:
    """How long each of the first batches of an evaluation takes."""
    times = [time.monotonic()]
    for batch in itertools.islice(batches, BATCHES):
        jax.block_until_ready(run.eval_step(variables, run.put(batch)))
        times.append(time.monotonic())
    return np.diff(times).tolist()


def _agreed(number: int) -> int:
    """What the first process says."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))
