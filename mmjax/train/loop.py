"""The one training loop: step, log, evaluate, save, stop."""

import collections
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from mmjax.errors import UserError
from mmjax.train.checkpoints.checkpoint import Checkpoints
from mmjax.train.evaluate import Evaluation
from mmjax.train.host import memory
from mmjax.train.host.signals import Interrupted, Interrupts
from mmjax.train.reporting.bar import Bar
from mmjax.train.reporting.meter import Meter
from mmjax.train.reporting.writers import Writer
from mmjax.train.state import TrainState
from mmjax.train.step import as_it_is


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When what happens, in steps.

    steps: the last step.
    log_every, eval_every, checkpoint_every: intervals; 0 is never (an evaluation also saves).
    monitor: the metric of the validation split that decides which checkpoint is best.
    mode: 'max' or 'min'.
    patience: evaluations without a better value before the run ends; 0 never ends it.
    max_skipped: steps in a row with a loss that is not finite before the run ends.
    """

    steps: int
    log_every: int
    eval_every: int
    checkpoint_every: int
    monitor: str
    mode: str
    patience: int
    max_skipped: int

    def is_over(self, step: int, stale: int) -> bool:
        """Whether a run ends at a step, after so many evaluations without a better one."""
        return step >= self.steps or 0 < self.patience <= stale


@dataclasses.dataclass
class Progress:
    """What the loop knows besides the state; saved with each checkpoint.

    best, best_step: the best score so far (higher is better) and its step.
    stale: evaluations since then.
    finished: the run is over, by its steps or by patience.
    seconds: time spent in the loop, over all starts.
    unlogged: what the steps since the last line of the log measured (see `Meter`).
    """

    best: float | None = None
    best_step: int = 0
    stale: int = 0
    finished: bool = False
    seconds: float = 0.0
    unlogged: dict[str, Sequence] = dataclasses.field(default_factory=dict)

    def note_score(self, step: int, score: float) -> None:
        """Takes in an evaluation. The later of two equals is kept, but it is no improvement."""
        improved = self.best is None or score > self.best
        self.stale = 0 if improved else self.stale + 1
        if improved or score == self.best:
            self.best, self.best_step = score, step


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def fit(
    state: TrainState,
    data: Any,
    *,
    step_fn: Callable,
    put: Callable,
    whole: Callable[[TrainState], TrainState] = as_it_is,
    evaluate: Callable[[Any], Evaluation],
    learning_rate: Callable[[int], float],
    checkpoints: Checkpoints,
    writer: Writer,
    bar: Bar,
    interrupts: Interrupts,
    schedule: Schedule,
    progress: Progress,
) -> TrainState:
    """Trains from `state` to the last step, or until patience ends it.

    Args:
        state: the state to start from; `data` stands at its position.
        data: a Grain iterator over batches of numpy arrays.
        step_fn: (state, batch) -> (state, metrics), compiled.
        put: sends a batch to the devices.
        whole: a state of `step_fn` -> what is saved of it (see `parallel.Program`).
        evaluate: variables -> the evaluation on the validation split.
        learning_rate: of a step, for the log.
        progress: brought up to date in place.

    Returns:
        The last state; it is saved.

    Raises:
        UserError: the loss was not finite too often in a row.
        Interrupted: after SIGTERM or Ctrl-C, with the state saved.
    """
    meter, step = Meter(progress.unlogged), int(state.step)
    begun = step
    running: collections.deque = collections.deque()
    loop_begun, seconds_before = time.monotonic(), progress.seconds

    def absorb(keep: int) -> None:
        """Reads the metrics of all but the newest `keep` steps: the device is never waited for."""
        while len(running) > keep:
            number, metrics = running.popleft()
            metrics = jax.device_get(metrics)
            meter.add(metrics)
            bar.update(number, loss=meter.loss, rate=meter.rate)
            in_a_row = int(metrics["skipped_in_a_row"].compute())
            if in_a_row >= schedule.max_skipped:
                _stop(number, in_a_row, checkpoints)

    def read() -> dict[str, float]:
        absorb(keep=0)
        rest = {
            "train/learning_rate": float(learning_rate(step - 1)),
            "train/skipped_steps": float(state.skipped),
        }
        return meter.read() | rest

    def save(score: float | None, *, wait: bool = False) -> None:
        progress.seconds = seconds_before + time.monotonic() - loop_begun
        progress.unlogged = meter.unlogged()
        checkpoints.save(step, whole(state), data, dataclasses.asdict(progress), score, wait=wait)

    interrupts.defer()
    while step < schedule.steps and not progress.finished and not interrupts.stops():
        asked = time.monotonic()
        batch = _read(data, put, interrupts)
        if batch is None:
            break
        meter.wait(time.monotonic() - asked)
        state, metrics = step_fn(state, batch)
        step += 1
        running.append((step, metrics))
        absorb(keep=1)
        last = step == schedule.steps
        validate = last or _due(step, schedule.eval_every)
        checkpoint = validate or _due(step, schedule.checkpoint_every)
        if checkpoint or _due(step, schedule.log_every):
            values, score = read(), None
            if validate:
                evaluation = evaluate(state.eval_variables)
                values |= {f"val/{name}": value for name, value in evaluation.metrics.items()}
                score = _score(values, schedule)
                progress.note_score(step, score)
                progress.finished = schedule.is_over(step, progress.stale)
                _show(bar, step, schedule, values[schedule.monitor], progress)
            writer.write(step, values)
            memory.trim_heap()
            if checkpoint:
                save(score)
            meter.restart()
    if interrupts.received is not None and step > begun:
        absorb(keep=0)
        save(None, wait=True)
    checkpoints.wait()
    interrupts.raise_at_once()
    return state


def _read(data: Any, put: Callable, interrupts: Interrupts) -> Any:
    """The next batch on the devices; None, with `data` where it was, if a signal comes first."""
    position = data.get_state()
    try:
        with interrupts.waiting():
            return put(next(data))
    except Interrupted:
        data.set_state(position)
        return None


def _score(values: dict[str, float], schedule: Schedule) -> float:
    if schedule.monitor not in values:
        known = ", ".join(sorted(values))
        raise UserError(f"config.train.monitor={schedule.monitor!r} is not among {known}")
    sign = {"max": 1.0, "min": -1.0}[schedule.mode]
    value = sign * values[schedule.monitor]
    # A score that is not a number can never be the best.
    return value if np.isfinite(value) else -np.inf


def _show(bar: Bar, step: int, schedule: Schedule, value: float, progress: Progress) -> None:
    best = ""
    if progress.best is not None and np.isfinite(progress.best):
        sign = {"max": 1.0, "min": -1.0}[schedule.mode]
        best = f"best {sign * progress.best:.4f} at step {progress.best_step}"
    bar.evaluated(step, f"{schedule.monitor} {value:.4f}", best)


def _stop(step: int, in_a_row: int, checkpoints: Checkpoints) -> None:
    checkpoints.wait()
    steps = checkpoints.steps()
    good = f"{checkpoints.directory / str(steps[-1])}" if steps else "none was saved yet"
    raise UserError(
        f"the loss or its gradient was not finite in {in_a_row} steps in a row, up to step {step}; "
        f"the last good checkpoint: {good}. None of these steps was applied. Lower "
        "config.optimizer.learning_rate, set config.optimizer.clip_norm, or look at the data"
    )
