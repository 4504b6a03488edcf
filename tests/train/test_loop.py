import dataclasses
import io
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from mmjax.errors import UserError
from mmjax.train.checkpoints.checkpoint import Checkpoints
from mmjax.train.evaluate import Evaluation
from mmjax.train.host.signals import Interrupted, Interrupts
from mmjax.train.loop import Progress, Schedule, fit
from mmjax.train.reporting.bar import Bar
from mmjax.train.reporting.writers import Writer, read_metrics
from tests.train.toy import Stream, Toy, same

SCHEDULE = Schedule(
    steps=6,
    log_every=2,
    eval_every=3,
    checkpoint_every=0,
    monitor="val/accuracy",
    mode="max",
    patience=0,
    max_skipped=3,
)


class Poisoned(Stream):
    """From batch 3 on, nothing is finite."""

    def __next__(self):
        batch = super().__next__()
        return batch | {"vector": batch["vector"] * np.float32(np.nan if self.position > 2 else 1)}


def run(workdir, *, scores=(), data=None, schedule=SCHEDULE, on_step=None, toy=None):
    """Trains the toy, on from a checkpoint; `scores` are the validation accuracies in turn."""
    toy, data, output = toy or Toy(), data or Stream(), io.StringIO()
    scores = iter(scores)
    console = Console(file=output, width=200)

    def evaluate(_):
        value = next(scores, 0.5)
        return Evaluation({"accuracy": value}, {"accuracy": 1}, {})

    def step(state, batch):
        if on_step:
            on_step(int(state.step))
        return toy.step(state, batch)

    checkpoints = Checkpoints(workdir)
    begin, progress = checkpoints.restore_latest(toy.state, data) or (toy.state, {})
    progress, start = Progress(**progress), int(begin.step)
    writer = Writer(workdir, resume_step=start)
    try:
        with Bar(console, start=start, steps=schedule.steps) as bar, Interrupts() as interrupts:
            state = fit(
                begin,
                data,
                step_fn=step,
                put=lambda batch: jax.tree.map(jnp.array, batch),
                evaluate=evaluate,
                learning_rate=lambda step: 0.1 * step,
                checkpoints=checkpoints,
                writer=writer,
                bar=bar,
                interrupts=interrupts,
                schedule=schedule,
                progress=progress,
            )
    finally:
        writer.close()
        checkpoints.close()
    return state, progress, output.getvalue()


def test_everything_happens_when_the_schedule_says(tmp_path):
    state, progress, text = run(tmp_path, scores=[0.7, 0.6])
    records = read_metrics(tmp_path)
    assert [r["step"] for r in records] == [2, 3, 4, 6]
    assert ["val/accuracy" in r for r in records] == [False, True, False, True]
    assert [r["train/learning_rate"] for r in records] == pytest.approx([0.1, 0.2, 0.3, 0.5])
    assert Checkpoints(tmp_path).steps() == [3, 6]
    assert Checkpoints(tmp_path).best_step() == progress.best_step == 3
    assert progress.finished
    assert int(state.step) == 6
    assert "step 6/6" in text


def test_logged_losses_are_means_over_the_steps_since_the_last_record(tmp_path):
    run(tmp_path / "a", schedule=dataclasses.replace(SCHEDULE, log_every=1))
    run(tmp_path / "b", schedule=dataclasses.replace(SCHEDULE, eval_every=0))
    ones = [r["train/loss"] for r in read_metrics(tmp_path / "a")]
    twos = [r["train/loss"] for r in read_metrics(tmp_path / "b")]
    np.testing.assert_allclose(twos, np.reshape(ones, (3, 2)).mean(1), rtol=1e-6)


def test_patience_ends_the_run(tmp_path):
    schedule = dataclasses.replace(SCHEDULE, steps=100, eval_every=1, patience=2)
    state, progress, _ = run(tmp_path, scores=[0.1, 0.3, 0.3, 0.2, 0.9], schedule=schedule)
    assert int(state.step) == 4
    assert (progress.best, progress.best_step, progress.finished) == (0.3, 3, True)


def test_a_metric_may_be_minimised(tmp_path):
    schedule = dataclasses.replace(SCHEDULE, mode="min")
    _, progress, _ = run(tmp_path, scores=[0.2, 0.8], schedule=schedule)
    assert progress.best_step == Checkpoints(tmp_path).best_step() == 3


def test_an_unknown_monitor_is_an_error_that_lists_what_there_is(tmp_path):
    schedule = dataclasses.replace(SCHEDULE, monitor="val/accuracie")
    with pytest.raises(UserError, match="val/accuracie.*val/accuracy"):
        run(tmp_path, schedule=schedule)


def test_too_many_steps_that_are_not_finite_end_the_run_and_name_the_last_good_one(tmp_path):
    schedule = dataclasses.replace(SCHEDULE, steps=50, eval_every=0, checkpoint_every=2)
    with pytest.raises(UserError, match=r"3 steps in a row.*step 5.*checkpoints/4"):
        run(tmp_path, data=Poisoned(), schedule=schedule)
    state, _ = Checkpoints(tmp_path).restore_latest(Toy().state, Poisoned())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    assert (int(state.step), int(state.skipped)) == (4, 2)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_the_step_that_runs_and_ends(tmp_path, signum, code):
    def interrupt(step):
        if step == 3:
            os.kill(os.getpid(), signum)

    schedule = dataclasses.replace(SCHEDULE, steps=50, eval_every=0)
    with pytest.raises(Interrupted) as caught:
        run(tmp_path, schedule=schedule, on_step=interrupt)
    assert caught.value.code == code
    assert Checkpoints(tmp_path).steps() == [4]
    expected, _, _ = run(tmp_path / "whole", schedule=dataclasses.replace(SCHEDULE, steps=4))
    data = Stream()
    state, _ = Checkpoints(tmp_path).restore_latest(Toy().state, data)
    assert same(state, expected)
    assert data.position == 4


class Interrupting(Stream):
    """A signal comes while batch 5 is read, when the position has moved already."""

    def __next__(self):
        batch = super().__next__()
        if self.position == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch


def test_a_batch_that_a_signal_finds_half_read_is_read_again(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, data=Interrupting())
    assert Checkpoints(tmp_path).steps()[-1] == 4  # and no checkpoint was due there
    data = Stream()
    Checkpoints(tmp_path).restore_latest(Toy().state, data)
    assert data.position == 4
    resumed, _, _ = run(tmp_path)
    whole, _, _ = run(tmp_path / "whole")
    assert same(resumed, whole)


def timeless(workdir):
    return [
        {k: v for k, v in r.items() if not k.endswith(("per_sec", "data_wait"))}
        for r in read_metrics(workdir)
    ]


def test_a_run_that_is_stopped_and_resumed_logs_what_one_in_one_piece_logs(tmp_path):
    schedule = dataclasses.replace(SCHEDULE, steps=16, log_every=5, eval_every=7)
    toy = Toy(dropout=0.3, ema=0.9, batch_norm=True)
    run(tmp_path / "whole", schedule=schedule, toy=toy)
    expected = timeless(tmp_path / "whole")
    assert [r["step"] for r in expected] == [5, 7, 10, 14, 15, 16]
    for stops in ([0, 1, 2, 3], [3, 4, 5, 6], [6, 8, 13, 15], [14], range(16)):
        workdir = tmp_path / "-".join(map(str, stops))
        for stop in stops:

            def interrupt(step, stop=stop):
                if step == stop:
                    os.kill(os.getpid(), signal.SIGTERM)

            with pytest.raises(Interrupted):
                run(workdir, schedule=schedule, toy=toy, on_step=interrupt)
        run(workdir, schedule=schedule, toy=toy)
        assert timeless(workdir) == expected, stops
