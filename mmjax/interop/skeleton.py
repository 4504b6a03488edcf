"""All of a checkpoint but its weights, kept where a model that was made of it is trained."""

import json
from pathlib import Path

import numpy as np

from mmjax.interop.architecture import Checkpoint
from mmjax.interop.checkpoint import copy_beside, read_config, read_config_file
from mmjax.interop.formats.tensors import Tensor
from mmjax.types import UserError

TENSORS_FILE = "tensors.json"  # the shapes of the weights, by name


def write(checkpoint: Checkpoint, directory: Path) -> None:
    """Copies configs, vocabularies and tokenizers, and lists the shapes of the weights."""
    directory.mkdir(parents=True, exist_ok=True)
    copy_beside(checkpoint.path, directory)
    shapes = {name: list(tensor.shape) for name, tensor in checkpoint.weights.items()}
    part = directory / f"{TENSORS_FILE}.part"
    part.write_text(json.dumps(shapes) + "\n")
    part.replace(directory / TENSORS_FILE)


def read(directory: Path) -> Checkpoint:
    """What `write` wrote; its weights have sizes only.

    Raises:
        UserError: it is missing or damaged.
    """
    shapes = read_config_file(directory / TENSORS_FILE)

    def refuse() -> np.ndarray:
        raise UserError(f"{directory} has no weights: they are in the checkpoints of the run")

    weights = {
        name: Tensor(tuple(shape), np.dtype(np.float32), refuse, str(directory))
        for name, shape in shapes.items()
    }
    return Checkpoint(directory, read_config(directory), weights)
