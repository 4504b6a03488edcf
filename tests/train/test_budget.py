"""How many steps fit into a time, by a clock that only what is measured moves on."""

import types
from pathlib import Path

import pytest

from mmjax.train import budget, run
from mmjax.train.experiment import Experiment

BATCHES, EPOCH = 6, 10  # of the validation split and of training


class Clock:
    """Time passes when batches are read, programs compiled and steps made."""

    def __init__(self, step=0.2, read=0.0, again=None, first=5.0, evaluate=0.1):
        self.now, self.step, self.read, self.evaluate = 0.0, step, read, evaluate
        self.again = read if again is None else again  # what is read a second time
        self.first, self.seen, self.compiled = first, set(), set()

    def monotonic(self):
        return self.now

    def pass_batch(self, key):
        self.now += self.again if key in self.seen else self.read
        self.seen.add(key)
        return key

    def run(self, program, seconds):
        if program not in self.compiled:
            self.compiled.add(program)
            self.now += self.first
        self.now += seconds


class Data:
    def __init__(self, clock):
        self.clock, self.given, self.closed = clock, 0, False

    def __next__(self):
        self.given += 1
        return self.clock.pass_batch(("train", self.given % EPOCH))

    def close(self):
        self.closed = True


class Evaluation:
    def __init__(self, clock, split):
        self.clock, self.split = clock, split

    def __len__(self):
        return BATCHES

    def __iter__(self):
        return (self.clock.pass_batch((self.split, i)) for i in range(BATCHES))


class Small(Experiment):
    """The parts of an experiment that are looked at."""

    def __init__(self, **parts):
        self.__dict__.update(parts)


class FakeRun(run.Run):
    """What a run does, as far as it takes time."""

    def __init__(self, experiment, directory, console):
        del directory, console
        self.clock = experiment.clock

    def create(self):
        return types.SimpleNamespace(eval_variables={})

    def put(self, batch):
        return batch

    put_training = put

    def whole(self, variables):
        return variables

    def train_step(self, state, batch):
        del batch
        self.clock.run("train", self.clock.step)
        return state, {}

    def eval_step(self, variables, batch):
        del variables, batch
        self.clock.run("eval", self.clock.evaluate)
        return {}


def spent(clock, steps):
    """The seconds of a run of so many steps, after what was measured."""
    begun, data = clock.now, Data(clock)
    for _ in range(steps):
        next(data)
        clock.run("train", clock.step)
    # Evaluations of validation, the test, and each of the two modalities alone.
    for split in ["validation"] * budget.EVALUATIONS + ["test"] * 3:
        for _ in Evaluation(clock, split):
            clock.run("eval", clock.evaluate)
    return clock.now - begun


def measured(clock, seconds, prepared, monkeypatch):
    monkeypatch.setattr(budget, "time", clock)
    monkeypatch.setattr(budget, "Run", FakeRun)
    data = Data(clock)
    experiment = Small(
        clock=clock,
        example={"image": 0, "text": 0},
        train_data=lambda: data,
        eval_data=lambda split: Evaluation(clock, split),
    )
    steps = budget.affordable_steps(experiment, Path(), seconds, prepared)
    assert data.closed
    return steps


@pytest.mark.parametrize(
    ("clock", "prepared"),
    [
        (Clock(), 0),
        (Clock(step=0.01, evaluate=0.01), 4),
        (Clock(read=0.3), 4),  # files that are decoded each time
        (Clock(read=1.0, again=0.0), EPOCH),  # and files that stay in memory
        (Clock(step=3.0, first=0.0), 0),
    ],
    ids=["steps", "fast", "decoded", "kept", "slow"],
)
def test_a_run_takes_as_long_as_it_may(clock, prepared, monkeypatch):
    steps = measured(clock, 120.0, prepared, monkeypatch)
    total = clock.now + spent(clock, steps)
    assert 120.0 - clock.step - 0.35 <= total <= 120.0 + 1e-6


def test_what_is_prepared_takes_a_share_of_the_time_at_the_most(monkeypatch):
    clock = Clock(read=1.0)
    steps = measured(clock, 60.0, 10**6, monkeypatch)
    assert clock.now <= 60.0 * budget.PREPARING + 30
    assert steps == 1


def test_there_is_always_a_step(monkeypatch):
    assert measured(Clock(step=50.0), 10.0, 0, monkeypatch) == 1
