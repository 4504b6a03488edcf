"""How many steps of training fit into a given time, by a measurement."""

import itertools
import math
import time
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from rich.console import Console

from mmjax.train.experiment import Experiment
from mmjax.train.run import Run

MEASURED = 2.0  # seconds of steps, at least
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
        prepared: batches that are ready before they are asked for, so that the first steps say
            nothing of how fast data come.
    """
    run = Run(experiment, directory, Console(quiet=True))
    state, data = run.create(), experiment.train_data()
    begun = time.monotonic()
    try:
        state, _ = jax.block_until_ready(run.train_step(state, run.put_training(next(data))))
        compiled = time.monotonic() - begun
        begun, count = time.monotonic(), 0
        for _ in range(min(prepared, MAX_STEPS)):
            batch = run.put_training(next(data))
            state, _ = jax.block_until_ready(run.train_step(state, batch))
        waited = time.monotonic() - begun
        begun = time.monotonic()
        # All processes take as many steps: they wait for each other in each.
        while _agreed(count < MAX_STEPS and time.monotonic() - begun < MEASURED):
            state, _ = jax.block_until_ready(run.train_step(state, run.put_training(next(data))))
            count += 1
        step = (time.monotonic() - begun) / count
    finally:
        data.close()
    batches = experiment.eval_data("validation")
    times, variables = [time.monotonic()], run.whole(state.eval_variables)
    for batch in itertools.islice(batches, BATCHES):
        jax.block_until_ready(run.eval_step(variables, run.put(batch)))
        times.append(time.monotonic())
    spans = np.diff(times)
    evaluation = float(np.median(spans[1:] if len(spans) > 1 else spans)) * len(batches)
    # The test split is about as large, and each modality is also shown alone.
    others = EVALUATIONS + 1 + len(experiment.example)
    rest = seconds - compiled - waited - float(spans[0]) - others * evaluation
    return _agreed(min(max(1, math.floor(rest / step)), 2**31 - 1))


def _agreed(number: int) -> int:
    """What the first process says."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))
