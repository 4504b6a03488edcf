"""Two processes train as one does: they share each batch, in the order of one, and end together."""

import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from mmjax.data.pipeline.loader import BatchIterator
from mmjax.train.checkpoints.checkpoint import Checkpoints
from mmjax.train.reporting.writers import read_metrics
from tests.commands import ROOT, run, start

SETTINGS = (
    f"--config={ROOT}/configs/vqa.py:tiny",
    "--config.optimizer.warmup_steps=0",
    "--config.train.steps=8",
    "--config.train.eval_every=8",
    "--config.train.log_every=1",
)
JOIN = (
    "import jax; jax.config.update('jax_cpu_collectives_implementation', 'gloo'); "
    "jax.distributed.initialize('127.0.0.1:{port}', 2, {rank}); "
)
# What training does, in short: one computation of all processes after the other.
STEPS = """
import os, signal
import numpy as np
from jax.experimental import multihost_utils
from mmjax import cli

def main(argv):
    for step in range(1000):
        if (jax.process_index(), step) == (1, 2):
            {event}
        multihost_utils.process_allgather(np.ones(1))

cli.run(main)
"""
# What SLURM tells the tasks of `srun --ntasks=2`.
SLURM = (
    "import os; os.environ.update(SLURM_JOB_ID='7', SLURM_STEP_NODELIST='127.0.0.1', "
    "SLURM_NTASKS='2', SLURM_PROCID='{rank}', SLURM_LOCALID='{rank}', "
    "JAX_COORDINATOR_PORT='{port}'); "
)
SEND = "from tests.test_two_processes import send; send({signum}, {batch})"


def send(signum, batch):
    """Makes this process get a signal while it reads the batch of this number."""
    following, read = BatchIterator.__next__, []

    def draw(batches):
        read.append(1)
        if len(read) == batch:
            os.kill(os.getpid(), signum)
        return following(batches)

    BatchIterator.__next__ = draw


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def pair(workdir, *preludes, slurm=False, settings=SETTINGS):
    """Runs two processes to their ends: their exit codes and what they printed."""
    port = free_port()
    preludes = preludes or ("", "")
    parts = [
        start(
            "mmjax.main",
            *settings,
            f"--workdir={workdir}",
            *([] if slurm else [f"--distributed=127.0.0.1:{port},2,{rank}"]),
            prelude=(SLURM.format(port=port, rank=rank) if slurm else "") + prelude,
        )
        for rank, prelude in enumerate(preludes)
    ]
    try:
        ends = [part.communicate(timeout=300) for part in parts]
    finally:
        for part in parts:
            part.kill()
    return [part.returncode for part in parts], ends


def steps_and_numbers(workdir):
    """All that was logged but what depends on time."""
    return [
        {
            name: value
            for name, value in record.items()
            if not name.endswith(("per_sec", "seconds", "data_wait"))
        }
        for record in read_metrics(workdir)
    ]


def assert_near(records, expected):
    assert [r["step"] for r in records] == [r["step"] for r in expected]
    for record, other in zip(records, expected, strict=True):
        assert record.keys() == other.keys()
        for name in other:
            np.testing.assert_allclose(record[name], other[name], rtol=2e-5, err_msg=name)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("together")
    codes, ends = pair(workdir)
    assert codes == [0, 0], ends
    return steps_and_numbers(workdir)


def test_losses_gradients_and_scores_are_those_of_one_process(together, tmp_path):
    run("mmjax.main", *SETTINGS, f"--workdir={tmp_path}", devices=4)
    assert_near(together, steps_and_numbers(tmp_path))


def test_so_are_those_of_devices_that_each_run_the_step(tmp_path):
    settings = (*SETTINGS, "--config.parallel=pmap", "--config.train.steps=4")
    codes, ends = pair(tmp_path / "together", settings=settings)
    assert codes == [0, 0], ends
    run("mmjax.main", *settings, f"--workdir={tmp_path}/alone", devices=4)
    together, alone = (steps_and_numbers(tmp_path / name) for name in ("together", "alone"))
    assert len(alone) >= 4
    assert_near(together, alone)


def test_processes_that_measure_their_time_take_as_many_steps(tmp_path):
    # To the second one time seems to pass three times as fast.
    hurried = (
        "import time, types; from mmjax.train import budget; "
        "budget.time = types.SimpleNamespace(monotonic=lambda: 3 * time.monotonic())"
    )
    settings = (*SETTINGS, "--config.train.minutes=0.02", "--config.train.steps=1000")
    codes, ends = pair(tmp_path, "", hurried, settings=settings)
    assert codes == [0, 0], ends
    assert 1 <= read_metrics(tmp_path)[-1]["step"] < 1000


def test_all_stop_and_save_when_one_gets_a_signal_and_go_on_bit_for_bit(together, tmp_path):
    codes, ends = pair(tmp_path, "", SEND.format(signum=int(signal.SIGTERM), batch=2))
    assert codes == [143, 143], ends
    (saved,) = Checkpoints(tmp_path).steps()
    assert 2 <= saved < 7
    assert [r["step"] for r in read_metrics(tmp_path)] == [*range(1, saved + 1)]
    assert len(list(tmp_path.glob("events.out.*"))) == 1  # one of the processes writes
    for out, _ in ends:
        assert f"SIGTERM: saved at step {saved}; start again to go on" in out

    codes, ends = pair(tmp_path, slurm=True)
    assert codes == [0, 0], ends
    assert steps_and_numbers(tmp_path) == together


@pytest.mark.parametrize(
    ("event", "code", "own"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("raise ZeroDivisionError", 1, "ZeroDivisionError"),
    ],
)
def test_when_one_ends_the_other_does_with_one_line(event, code, own):
    port = free_port()
    programs = [JOIN.format(port=port, rank=r) + STEPS.format(event=event) for r in (0, 1)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parts = [
        subprocess.Popen([sys.executable, "-c", p], env=environment, **pipes) for p in programs
    ]
    try:
        ends = [part.communicate(timeout=60) for part in parts]
    finally:
        for part in parts:
            part.kill()
    assert [part.returncode for part in parts] == [2, code], ends
    lines = [line for line in ends[0][1].splitlines() if not line.startswith("[Gloo]")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("mmjax: process 1 of 2 is gone (")
    assert lines[0].endswith("): start all of them again to go on from the last checkpoint")
    assert own in ends[1][1]
