"""Where numbers go: `metrics.jsonl` and TensorBoard event files, without TensorFlow."""

import json
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path

# TensorBoard looks for this name before it tries to import TensorFlow, and then uses its own stub.
sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # noqa: E402
from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: E402
from tensorboard.summary.writer.event_file_writer import EventFileWriter  # noqa: E402

METRICS_FILE = "metrics.jsonl"


def read_metrics(workdir: str | Path) -> list[dict]:
    """The records of `metrics.jsonl`, oldest first, without a last line cut short by a crash."""
    path = Path(workdir) / METRICS_FILE
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1]]


class Writer:
    """Appends scalars to a workdir.

    Args:
        workdir: an existing directory.
        resume_step: records after this step are dropped: the run will write them again.
    """

    def __init__(self, workdir: str | Path, *, resume_step: int):
        workdir = Path(workdir)
        kept = [r for r in read_metrics(workdir) if r["step"] <= resume_step]
        path = workdir / METRICS_FILE
        part = path.with_suffix(".part")
        part.write_text("".join(json.dumps(record) + "\n" for record in kept))
        part.replace(path)
        self._file = path.open("a")
        self._events = EventFileWriter(str(workdir))
        if resume_step:
            start = SessionLog(status=SessionLog.START)
            self._add(Event(step=resume_step + 1, session_log=start))

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._events.add_event(event)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one record; it is on its way to the disk when this returns."""
        record = {"step": step} | {name: float(value) for name, value in scalars.items()}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        values = [Summary.Value(tag=k, simple_value=v) for k, v in record.items() if k != "step"]
        self._add(Event(step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Flushes and closes both files."""
        self._file.close()
        self._events.close()
