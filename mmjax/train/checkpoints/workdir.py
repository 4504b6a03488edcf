"""The directory of a run: it holds all that a later start, or `mmjax.load`, needs.

The files beside the checkpoints have checksums, too, from the first step on (see `checksums`). A
workdir of an older version has none until it is started again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.errors import UserError, decoding
from mmjax.train.checkpoints import changes, checksums
from mmjax.train.checkpoints.changes import Change

CONFIG_FILE = "config.json"
LABELS_FILE = "labels.json"
TOKENIZER_FILE = "tokenizer.json"
COLUMNS_FILE = "columns.json"  # that a run on a table reads and is asked for
SCALES_FILE = "scales.json"  # of the features of vectors and series in the training split
BASELINES_FILE = "baselines.json"
COUNTS_FILE = "class_counts.json"  # examples of each class in the training split
TUNED_FILE = "tuned.json"  # what was tuned on the validation split, after training
# What a later start or `mmjax.load` reads; `pretrained` is of `mmjax.factory`, as is
# `base.json`, which has a hash of its own: users may write there where a checkpoint has gone.
READ_AGAIN = (
    *(CONFIG_FILE, LABELS_FILE, TOKENIZER_FILE, COUNTS_FILE, SCALES_FILE, TUNED_FILE),
    COLUMNS_FILE,
    "pretrained/**/*",
)

Complete = Callable[[dict[str, Any]], dict[str, Any]]


def read_json(path: Path) -> Any:
    """The contents of a JSON file of a workdir.

    Raises:
        UserError: it is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(
            f"no {path.name} in {path.parent}; is it a --workdir that mmjax.main trained in?"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}; restore it, or train anew") from error


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file atomically."""
    checksums.replace(path, json.dumps(value, indent=2) + "\n")


def seal(path: Path) -> None:
    """Writes the checksums of all that is read again beside the checkpoints, which have theirs."""
    found = {file for pattern in READ_AGAIN for file in path.glob(pattern) if file.is_file()}
    checksums.write(path, found)


def require_whole(path: Path) -> None:
    """Raises UserError if a file beside the checkpoints is damaged, as far as checksums tell."""
    problem = checksums.damage(path)
    if problem:
        raise UserError(
            f"{path} is damaged: {problem}; restore it from a copy, or, if you trust the files as"
            f" they are, delete {path / checksums.FILE}"
        )


def by_task(stored: Any, tasks: Sequence[str]) -> dict[str, Any]:
    """What a file holds for each task: it names them where there are several."""
    return {tasks[0]: stored} if len(tasks) == 1 else {name: stored[name] for name in tasks}


def for_file(found: Mapping[str, Any]) -> Any:
    """What `by_task` reads."""
    return next(iter(found.values())) if len(found) == 1 else dict(found)


def write_tuned(path: Path, tuned: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Stores what was tuned on the validation split, by task and name."""
    lists = {t: {n: np.asarray(v).tolist() for n, v in found.items()} for t, found in tuned.items()}
    write_json(path / TUNED_FILE, for_file(lists))


def read_tuned(path: Path, tasks: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """What was tuned on the validation split, by task and name; empty if nothing was."""
    file = path / TUNED_FILE
    if not file.exists():
        return {}
    stored = read_json(file)
    with decoding(f"{file} is damaged", "restore it"):
        return {
            task: {name: np.asarray(values, np.float64) for name, values in found.items()}
            for task, found in by_task(stored, tasks).items()
        }


def has_checkpoints(path: Path) -> bool:
    """Whether anything was trained in this workdir."""
    return any((path / "checkpoints").glob("[0-9]*"))


def newest_step(path: Path) -> int:
    """The last step that has a checkpoint in a workdir; 0 if none has."""
    return max((int(p.name) for p in (path / "checkpoints").glob("[0-9]*")), default=0)


def has_config(workdir: str | Path) -> bool:
    """Whether a directory is one of a run, trained or not."""
    try:
        return (Path(workdir).expanduser() / CONFIG_FILE).is_file()
    except OSError:  # a name that is too long: making it a directory says so
        return False


def check_trained(workdir: str | Path) -> None:
    """Raises a UserError for a directory in which nothing was trained."""
    path = Path(workdir).expanduser().absolute()
    if not has_checkpoints(path):
        raise UserError(f"no checkpoint in {path}; train first, without --mode=eval")


def differences(
    workdir: str | Path, config: dict[str, Any], complete: Complete = lambda stored: stored
) -> list[Change]:
    """How a config differs from that of what was trained in `workdir`; [] if nothing was.

    Args:
        workdir: of a run, or of none yet.
        config: plain nested dictionaries, lists, numbers and strings.
        complete: gives a stored config, which may be of an older version, what it lacks.

    Raises:
        UserError: it differs in what may not change while a run goes on (see `changes`).
    """
    path = Path(workdir).expanduser().absolute()
    if not (has_config(path) and has_checkpoints(path)):
        return []
    require_whole(path)
    stored = read_json(path / CONFIG_FILE)
    try:
        before = json.loads(json.dumps(complete(stored)))
    except UserError as error:
        raise UserError(
            f"--workdir={workdir} belongs to another config, in which {error}; choose another"
        ) from error
    found = changes.between(before, json.loads(json.dumps(config)))
    found = [change for change in found if not changes.came_later(change.key, stored)]
    changes.check(found, workdir)
    return found


def open_workdir(
    workdir: str | Path, config: dict[str, Any], complete: Complete = lambda stored: stored
) -> Path:
    """Makes `workdir` the directory of this config, or finds that it already is.

    A config that was never trained here gives way: it may have been a slip of the pen. One that was
    may differ in what `changes.CHANGEABLE` lists.

    Args:
        workdir: made if missing.
        config, complete: see `differences`.

    Raises:
        UserError: the directory belongs to another config, cannot be made or holds other things.
    """
    path = _directory(workdir)
    differences(workdir, config, complete)
    # Another process may be claiming it right now, or one was cut short by a crash. In this order:
    # where there are files of a run, its config was there before them.
    others = [file for file in path.iterdir() if not checksums.is_part(file, CONFIG_FILE)]
    if others and not has_config(path):
        raise UserError(
            f"--workdir={workdir} is not empty and has no {CONFIG_FILE}; choose a new directory"
        )
    write_json(path / CONFIG_FILE, config)
    return path


def _directory(workdir: str | Path) -> Path:
    path = Path(workdir).expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"--workdir={workdir} is not a directory; choose another") from error
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} cannot be made: {error.strerror}; make room, or choose another"
        ) from error
    return path
