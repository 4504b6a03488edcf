"""Two processes train as one does: they share each batch, in the order of one."""

import socket

import numpy as np
import pytest

from mmjax.train.writers import read_metrics
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
    "jax.distributed.initialize('127.0.0.1:{port}', 2, {rank})"
)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("alone")
    run("mmjax.main", *SETTINGS, f"--workdir={workdir}", devices=4)
    return read_metrics(workdir)


def test_losses_gradients_and_scores_are_those_of_one_process(alone, tmp_path):
    port = free_port()
    parts = [
        start(
            "mmjax.main",
            *SETTINGS,
            f"--workdir={tmp_path}",
            prelude=JOIN.format(port=port, rank=rank),
        )
        for rank in (0, 1)
    ]
    for part in parts:
        out, err = part.communicate(timeout=300)
        assert part.returncode == 0, out + err
    records = read_metrics(tmp_path)
    assert [r["step"] for r in records] == [r["step"] for r in alone]
    for record, expected in zip(records, alone, strict=True):
        for name in expected:
            if not name.endswith(("per_sec", "seconds")):
                np.testing.assert_allclose(record[name], expected[name], rtol=2e-5, err_msg=name)
