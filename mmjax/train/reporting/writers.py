"""Where numbers go: `metrics.jsonl` and TensorBoard event files, without TensorFlow."""

import json
import logging
import sys
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("mmjax")

METRICS_FILE = "metrics.jsonl"


def read_metrics(workdir: str | Path) -> list[dict]:
    """The records of `metrics.jsonl`, oldest first, without a last line cut short by a crash.

    A line that is damaged is left out with a warning: nothing but the curves depends on it.
    """
    path, records = Path(workdir) / METRICS_FILE, []
    if not path.exists():
        return []
    for number, line in enumerate(path.read_text(errors="replace").split("\n")[:-1], 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            record = None
        numbers = isinstance(record, dict) and all(
            isinstance(value, int | float) for value in record.values()
        )
        if numbers and isinstance(record.get("step"), int):
            records.append(record)
        else:
            log.warning("%s, line %d is damaged: it is left out", path, number)
    return records


class Writer:
    """Appends scalars to a workdir.

    Args:
        workdir: an existing directory; None writes nothing, as of all processes of a run but one.
        resume_step: records after this step are dropped: the run will write them again.
        echo: is called with every record.
    """

    def __init__(
        self,
        workdir: str | Path | None,
        *,
        resume_step: int,
        echo: Callable[[Mapping[str, float]], None] | None = None,
    ):
        self._echo, self._file = echo, None
        if workdir is None:
            return
        workdir = Path(workdir)
        kept = [r for r in read_metrics(workdir) if r["step"] <= resume_step]
        path = workdir / METRICS_FILE
        part = path.with_suffix(".part")
        part.write_text("".join(json.dumps(record) + "\n" for record in kept))
        part.replace(path)
        self._file = path.open("a")
        self._events = _Events(workdir)
        if resume_step:
            self._events.restart(resume_step + 1)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one record; it is on its way to the disk when this returns."""
        if self._file is None:
            return
        record = {"step": step} | {name: float(value) for name, value in scalars.items()}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        if self._echo is not None:
            self._echo(record)
        self._events.write(step, {k: v for k, v in record.items() if k != "step"})

    def close(self) -> None:
        """Flushes and closes both files."""
        if self._file is None:
            return
        self._file.close()
        self._events.close()


class _Events:
    """TensorBoard's event file of a workdir."""

    def __init__(self, workdir: Path):
        # TensorBoard looks for this name before it tries to import TensorFlow, and then uses its
        # own stub.
        name = "tensorboard.compat.notf"
        sys.modules.setdefault(name, types.ModuleType(name))
        from tensorboard.compat.proto import event_pb2, summary_pb2  # slow to import
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary = event_pb2, summary_pb2.Summary
        self._file = EventFileWriter(str(workdir))

    def restart(self, step: int) -> None:
        """Tells TensorBoard to forget what was written from a step on."""
        start = self._event.SessionLog(status=self._event.SessionLog.START)
        self._add(step=step, session_log=start)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the scalars of a step."""
        values = [self._summary.Value(tag=k, simple_value=v) for k, v in scalars.items()]
        self._add(step=step, summary=self._summary(value=values))

    def _add(self, **what: Any) -> None:
        self._file.add_event(self._event.Event(wall_time=time.time(), **what))

    def close(self) -> None:
        """Flushes and closes the file."""
        self._file.close()
