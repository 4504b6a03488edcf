"""What was trained of a model, and nothing else, in a safetensors file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mmjax.errors import UserError, decoding
from mmjax.tuning.paths import Tree

FORMAT = "mmjax-adapter"


def save_adapter(path: str | Path, params: Tree, trains: Tree, options: Mapping[str, Any]) -> None:
    """Writes the parameters that train, named by their paths.

    Running statistics of batch norms are no parameters: they are not in the file.

    Args:
        path: of the file.
        params: of the tuned model.
        trains: True where a parameter trains (see Tuned.trains).
        options: of the tuning, as JSON has them; stored in the header as "tuning".
    """
    chosen = flatten_dict(trains, sep="/")
    tensors = {
        name: np.asarray(value)
        for name, value in flatten_dict(params, sep="/").items()
        if chosen[name]
    }
    save_file(tensors, path, {"format": FORMAT, "tuning": json.dumps(dict(options))})


def read_adapter(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The parameters of a file by path, and the options of the tuning.

    Raises:
        UserError: it is missing, or not such a file.
    """
    if not Path(path).is_file():
        raise UserError(f"no adapter file {path}; save_adapter writes one")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{path} cannot be read as safetensors: {error}; copy it again") from error
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path} is no adapter file; save_adapter writes one")
    with decoding(f"{path} does not say how it was tuned", "copy it again"):
        return tensors, dict(json.loads(metadata["tuning"]))


def load_adapter(path: str | Path, params: Tree, trains: Tree) -> dict[str, Any]:
    """The parameters of a tuned model with those of a file in their places.

    Args:
        path: of a file that save_adapter wrote.
        params: of the tuned model, as it was before the training, base and all.
        trains: True where a parameter trains; the file must have these and no others.

    Raises:
        UserError: the file is of another model or tuning, or cannot be read.
    """
    tensors, options = read_adapter(path)
    flat, chosen = flatten_dict(params, sep="/"), flatten_dict(trains, sep="/")
    wanted = {name: tuple(flat[name].shape) for name in flat if chosen[name]}
    given = {name: tensor.shape for name, tensor in tensors.items()}
    wrong = sorted(name for name in wanted.keys() | given if wanted.get(name) != given.get(name))
    if wrong:
        name = wrong[0]
        raise UserError(
            f"{path} is of another model or tuning: {name} is {given.get(name, 'not')} in the file"
            f" and {wanted.get(name, 'not')} in what trains here; it was made with {options}"
        )
    return unflatten_dict(flat | {n: jnp.asarray(t) for n, t in tensors.items()}, sep="/")
