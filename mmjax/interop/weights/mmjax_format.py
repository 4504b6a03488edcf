"""Published models in mmjax's own layout: the same numbers under our paths, nothing transposed."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint
from mmjax.interop.formats import safetensors
from mmjax.interop.formats.open_weights import open_weights
from mmjax.interop.weights import manifest
from mmjax.interop.weights.checkpoint import TENSORS_FILE
from mmjax.interop.weights.layout import nested
from mmjax.interop.weights.report import Report
from mmjax.interop.weights.variables import expected_shapes, flat

FILES = {"mmjax": "mmjax.safetensors", "npz": "mmjax.npz"}


def write(checkpoint: Checkpoint, variables: Any, directory: Path, kind: str) -> Path:
    """Writes variables by path, and beside them what they are (see
    `mmjax.interop.weights.manifest`).

    Args:
        checkpoint: that they came from.
        variables: of the module.
        directory: is made if need be.
        kind: a key of FILES.

    Returns:
        The file.
    """
    manifest.write(checkpoint, directory)
    arrays = {name: np.asarray(value) for name, value in flat(variables).items()}
    file = directory / FILES[kind]
    if kind == "npz":
        part = file.with_suffix(".part.npz")
        np.savez(part, **arrays)
        part.replace(file)
    else:
        safetensors.write(file, arrays, metadata={"format": "mmjax"})
    return file


def find(directory: Path) -> Path | None:
    """The file that `write` wrote in a directory; None if there is none."""
    if not (directory / TENSORS_FILE).is_file():
        return None
    return next((directory / f for f in FILES.values() if (directory / f).is_file()), None)


def read(file: Path, architecture: Architecture) -> tuple[dict[str, Any], Report]:
    """The variables that `write` wrote.

    Raises:
        UserError: they are not those of the architecture.
    """
    tensors, shapes = open_weights(file), expected_shapes(architecture)
    given = {name: tensor.shape for name, tensor in tensors.items()}
    odd = sorted(n for n in given.keys() | shapes.keys() if given.get(n) != shapes.get(n))
    if odd:
        raise UserError(
            f"{file}: {odd[0]} is {given.get(odd[0], 'not')} there and {shapes.get(odd[0], 'not')}"
            " in the model that config.json describes: convert the original anew"
        )
    found = {name: jnp.asarray(tensor.read()) for name, tensor in tensors.items()}
    size = sum(array.size for array in found.values())
    return nested(found), Report(architecture.name, sorted(found), (), parameters=size)
