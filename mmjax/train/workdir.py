"""The directory of a run: it holds all that a later start, or `mmjax.load`, needs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.types import UserError

CONFIG_FILE = "config.json"
LABELS_FILE = "labels.json"
TOKENIZER_FILE = "tokenizer.json"
COUNTS_FILE = "class_counts.json"  # examples of each class in the training split
TUNED_FILE = "tuned.json"  # what was tuned on the validation split, after training

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
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}; restore it, or train anew") from error


def read_labels(path: Path) -> list[str]:
    """The names of the classes of a workdir; raises UserError as `read_json`, and for others."""
    labels = read_json(path / LABELS_FILE)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise UserError(f"{path / LABELS_FILE} is no list of texts: restore it, or train anew")
    return labels


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file atomically."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=2) + "\n")
    part.replace(path)


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
