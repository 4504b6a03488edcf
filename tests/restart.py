"""Runs in this process, interrupted and started again, and what their checkpoints hold."""

import signal

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from rich.console import Console

from mmjax import factory
from mmjax.data.pipeline.loader import BatchIterator
from mmjax.train.host.signals import Interrupted, Interrupts
from mmjax.train.run import train


def start(config, workdir, *, stop=None):
    """Starts or resumes a run; SIGTERM comes while the batch after step `stop` is read."""
    following, read = BatchIterator.__next__, []

    def draw(batches):
        read.append(1)
        if stop is not None and len(read) == stop + 1:
            signal.raise_signal(signal.SIGTERM)
        return following(batches)

    with pytest.MonkeyPatch.context() as patch, Interrupts() as interrupts:
        patch.setattr(BatchIterator, "__next__", draw)
        directory, experiment = factory.experiment(config, str(workdir))
        if stop is None:
            train(experiment, directory, Console(quiet=True), interrupts)
        else:
            with pytest.raises(Interrupted):
                train(experiment, directory, Console(quiet=True), interrupts)


def state_of(workdir, step):
    """The state and the data position in a checkpoint, as numpy arrays and text."""
    path = workdir / "checkpoints" / str(step)
    position = next((path / "data").glob("process_*")).read_text()
    reader = ocp.PyTreeCheckpointer()
    tree = reader.metadata(path / "state").item_metadata.tree
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    return reader.restore(path / "state", restore_args=as_numpy), position


def assert_same(got, expected):
    """Two trees have the same arrays, bit for bit."""
    flat, expected_flat = jax.tree.leaves_with_path(got), jax.tree.leaves_with_path(expected)
    assert [path for path, _ in flat] == [path for path, _ in expected_flat]
    for (path, leaf), (_, other) in zip(flat, expected_flat, strict=True):
        np.testing.assert_array_equal(leaf, other, err_msg=str(path))


def assert_same_checkpoint(workdir, other, step):
    """Both have the same state and data position; returns the state."""
    (state, position), (expected, expected_position) = (state_of(w, step) for w in (workdir, other))
    assert_same(state, expected)
    assert position == expected_position
    return state
