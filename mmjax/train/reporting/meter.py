"""What training has measured since the last line of the log."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
from clu.metrics import Average, LastValue, Metric

KINDS = {kind.__name__: kind for kind in (Average, LastValue)}


class Meter:
    """Merges the metrics of the steps since it was last read.

    Args:
        unlogged: what another meter had merged, so that a run that was stopped between two lines
            logs what it would have logged.
    """

    def __init__(self, unlogged: Mapping[str, Sequence]):
        self._metrics: dict[str, Metric] = {
            # Steps measure in these types, and sums must not come to be of others.
            name: KINDS[kind](np.float32(total), np.int32(count))
            for name, (kind, total, count) in unlogged.items()
        }
        self._begun = time.monotonic()
        self._examples = self._waited = 0.0
        self.loss = float("nan")

    def add(self, metrics: dict[str, Metric]) -> None:
        """Takes in the metrics of a step, as numpy arrays."""
        self._examples += float(metrics["examples"].compute())
        if metrics["loss"].count:
            self.loss = float(metrics["loss"].compute())
        for name, value in metrics.items():
            known = self._metrics.get(name)
            self._metrics[name] = value if known is None else known.merge(value)

    def wait(self, seconds: float) -> None:
        """Takes in how long a step waited for its batch."""
        self._waited += seconds

    @property
    def rate(self) -> float:
        """The examples trained on in a second."""
        return self._examples / self._seconds

    @property
    def _seconds(self) -> float:
        return max(time.monotonic() - self._begun, 1e-9)

    def unlogged(self) -> dict[str, Sequence]:
        """What is merged and not read yet: by name its kind, total and count, for JSON."""
        return {
            name: (type(metric).__name__, float(metric.total), int(metric.count))
            for name, metric in self._metrics.items()
        }

    def read(self) -> dict[str, float]:
        """The means since the last reading, the examples trained on in a second, and the share of
        the time in which steps waited for data: where it is high, data.workers help."""
        values = {
            f"train/{name}": float(metric.compute())
            for name, metric in self._metrics.items()
            if name not in ("examples", "skipped_in_a_row") and metric.count
        }
        values["train/examples_per_sec"] = self.rate
        values["train/data_wait"] = self._waited / self._seconds
        self._metrics = {}
        return values

    def restart(self) -> None:
        """Starts the clock anew: what came since the reading was no training."""
        self._examples, self._waited, self._begun = 0.0, 0.0, time.monotonic()
