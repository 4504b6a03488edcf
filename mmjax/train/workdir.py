"""The directory of a run: it holds all that a later start, or `mmjax.load`, needs.

The files beside the checkpoints have checksums, too, from the first step on (see `checksums`). A
workdir of an older version has none until it is started again.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.train import checksums
from mmjax.types import UserError

CONFIG_FILE = "config.json"
LABELS_FILE = "labels.json"
TOKENIZER_FILE = "tokenizer.json"
COUNTS_FILE = "class_counts.json"  # examples of each class in the training split
TUNED_FILE = "tuned.json"  # what was tuned on the validation split, after training
# What a later start or `mmjax.load` reads; `base.json` and `pretrained` are of `mmjax.build`.
READ_AGAIN = (
    *(CONFIG_FILE, LABELS_FILE, TOKENIZER_FILE, COUNTS_FILE, TUNED_FILE, "base.json"),
    "pretrained/**/*",
)

# What may differ when a run is started again: it changes where and how fast, not what.
FREE = (
    "compilation_cache",
    "data.cache",
    "data.dir",
    "data.prefetch",
    "data.threads",
    "data.workers",
    "mesh.data",
    "mesh.fsdp",
    "mesh.tensor",
    "train.keep",
)


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict) and tree:
        items = [_flatten(v, f"{prefix}.{k}" if prefix else k) for k, v in tree.items()]
        return {key: value for item in items for key, value in item.items()}
    return {prefix: tree}


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
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
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


def write_tuned(path: Path, tuned: Mapping[str, np.ndarray]) -> None:
    """Stores what was tuned on the validation split, by name."""
    write_json(path / TUNED_FILE, {name: np.asarray(v).tolist() for name, v in tuned.items()})


def read_tuned(path: Path) -> dict[str, np.ndarray]:
    """What was tuned on the validation split, by name; empty if nothing was."""
    file = path / TUNED_FILE
    stored = read_json(file) if file.exists() else {}
    return {name: np.asarray(values, np.float32) for name, values in stored.items()}


def has_checkpoints(path: Path) -> bool:
    """Whether anything was trained in this workdir."""
    return any((path / "checkpoints").glob("[0-9]*"))


def claim(workdir: str | Path, config: dict[str, Any]) -> Path:
    """Makes `workdir` the directory of this config, or finds that it already is.

    A config that was never trained here gives way: it may have been a slip of the pen.

    Args:
        workdir: made if missing.
        config: plain nested dictionaries, lists, numbers and strings.

    Raises:
        UserError: the directory belongs to another config, cannot be made or holds other things.
    """
    path = Path(workdir).expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"--workdir={workdir} is not a directory; choose another") from error
    file = path / CONFIG_FILE
    config = json.loads(json.dumps(config))
    if has_checkpoints(path):
        require_whole(path)
    if file.exists() and has_checkpoints(path):
        before, now = _flatten(read_json(file)), _flatten(config)
        keys = sorted(before.keys() | now.keys())
        changed = [k for k in keys if k not in FREE and before.get(k) != now.get(k)]
        if changed:
            key = changed[0]
            raise UserError(
                f"--workdir={workdir} belongs to another config: {key} is {before.get(key)!r} "
                f"there and {now.get(key)!r} here ({len(changed)} differences); choose another"
            )
    elif not file.exists() and any(path.iterdir()):
        raise UserError(
            f"--workdir={workdir} is not empty and has no {CONFIG_FILE}; choose a new directory"
        )
    write_json(file, config)
    return path
