"""All of a checkpoint but its weights, kept where a model that was made of it is trained."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.errors import UserError
from mmjax.interop.architecture import Checkpoint
from mmjax.interop.formats.tensors import Tensor
from mmjax.interop.weights.checkpoint import (
    TENSORS_FILE,
    copy_beside,
    read_config,
    read_config_file,
)


def write(checkpoint: Checkpoint, directory: Path) -> None:
    """Copies configs, vocabularies and tokenizers, and lists the shapes of the weights.

    Of single numbers the value is there, too: some formats keep settings in them. Names of one
    tensor stay so.
    """
    directory.mkdir(parents=True, exist_ok=True)
    copy_beside(checkpoint.path, directory)
    listed: dict[str, dict[str, Any]] = {}
    seen: dict[int, str] = {}
    for name, tensor in checkpoint.weights.items():
        first = seen.setdefault(id(tensor), name)
        alone = tensor.shape in ((), (1,))
        value = tensor.read().astype(np.float64).item() if alone else None
        listed[name] = {"shape": list(tensor.shape), "value": value, "same_as": first}
    part = directory / f"{TENSORS_FILE}.part"
    part.write_text(json.dumps(listed) + "\n")
    part.replace(directory / TENSORS_FILE)


def read(directory: Path) -> Checkpoint:
    """What `write` wrote; its weights have sizes only.

    Raises:
        UserError: it is missing or damaged.
    """
    weights: dict[str, Tensor] = {}
    for name, entry in read_config_file(directory / TENSORS_FILE).items():
        read_value = functools.partial(_value, entry, directory)
        tensor = Tensor(tuple(entry["shape"]), np.dtype(np.float32), read_value, str(directory))
        weights[name] = weights.get(entry["same_as"], tensor)
    return Checkpoint(directory, read_config(directory), weights)


def _value(entry: Mapping[str, Any], directory: Path) -> np.ndarray:
    if entry["value"] is None:
        raise UserError(f"{directory} has no weights: they are in the checkpoints of the run")
    return np.full(entry["shape"], entry["value"])
