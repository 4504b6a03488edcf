import numpy as np
import pytest
from clu.metrics import Average

from mmjax.train.reporting import meter


def of(loss, examples):
    return {
        "loss": Average(np.float32(loss), np.int32(1)),
        "examples": Average(np.float32(examples), np.int32(1)),
    }


def test_rate_and_wait_are_of_the_time_since_the_last_start(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(meter.time, "monotonic", lambda: now[0])
    found = meter.Meter({})
    for _ in range(2):
        found.add(of(1.0, 8))
        found.wait(0.5)
    now[0] += 4
    values = found.read()
    assert values["train/examples_per_sec"] == pytest.approx(4.0)
    assert values["train/data_wait"] == pytest.approx(0.25)
    found.restart()
    found.add(of(3.0, 8))
    now[0] += 2
    values = found.read()
    assert values == pytest.approx(
        {"train/loss": 3.0, "train/examples_per_sec": 4.0, "train/data_wait": 0.0}
    )
