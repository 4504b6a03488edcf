"""The tensors of a file <-> the variables of a module, one at a time."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import UserError, decoding
from mmjax.interop.architecture import Architecture, Checkpoint
from mmjax.interop.formats.tensors import Tensor
from mmjax.interop.weights.layout import Rule, below, nested
from mmjax.interop.weights.report import Report

SHOWN = 4  # names in a message


def read_variables(
    checkpoint: Checkpoint, architecture: Architecture, path: str = ""
) -> tuple[dict[str, Any], Report]:
    """The variables of the module, read one at a time, or of the part of it at a path.

    Raises:
        UserError: a tensor is missing, or not of the shape or type that it should be.
    """
    tensors: dict[str, Tensor] = {}
    buffers, beside = [], []
    part = "" if architecture.reading is None else architecture.reading.part
    for name, tensor in checkpoint.weights.items():
        plain = architecture.place(name)
        if not architecture.library_name(name):
            beside.append(name)
        elif not plain:
            buffers.append(name)
        elif plain in tensors:
            raise UserError(f"{tensor.where}: {name!r} is there twice, under two names")
        else:
            tensors[plain] = tensor
    rules = architecture.rules if not path else below(architecture.rules, path)
    needed = [name for rule in rules for name in rule.theirs]
    missing = [name for name in needed if name not in tensors]
    if missing:
        raise UserError(
            f"{checkpoint.path}: {len(missing)} of {len(needed)} tensors of a model of the"
            f" architecture {architecture.name} are missing{part and f' in {part!r}'}, such as"
            f" {', '.join(missing[:SHOWN])}:"
            " is the file incomplete, or does config.json describe another model?"
        )
    what = f"{checkpoint.path}: the parts of the model that config.json describes do not fit"
    with decoding(what, "fetch the files of the model again"):
        shapes = expected_shapes(architecture, path)
    flat = {rule.ours: read(rule, tensors, shapes[rule.ours]) for rule in rules}
    report = Report(
        architecture.name,
        loaded=list(flat),
        unexpected=sorted(set(tensors) - {n for rule in architecture.rules for n in rule.theirs}),
        buffers=buffers,
        part=part,
        beside=beside,
        parameters=sum(array.size for array in flat.values()),
    )
    return nested(flat), report


def expected_shapes(architecture: Architecture, part: str = "") -> dict[str, tuple[int, ...]]:
    """The shapes of the module's variables, or of those of a part of it, by path."""
    tree = jax.eval_shape(architecture.module.init, jax.random.PRNGKey(0), **architecture.example)
    for name in part.split("/") if part else ():
        tree = {kind: values[name] for kind, values in tree.items() if name in values}
    return {path: leaf.shape for path, leaf in flat(tree).items()}


def read(rule: Rule, tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> jax.Array:
    """One variable, in float32; `shape` is what it must have."""
    parts = []
    for name in rule.theirs:
        tensor = tensors[name]
        if not jnp.issubdtype(tensor.dtype, jnp.floating):
            raise UserError(
                f"{tensor.where}: {name!r} is {tensor.dtype}: quantised models are not loaded;"
                " save it in a floating type"
            )
        parts.append(tensor.read())
    try:
        found = rule.load(*parts)
    except (ValueError, IndexError) as error:
        given = ", ".join(str(list(part.shape)) for part in parts)
        raise UserError(
            f"{tensors[rule.theirs[0]].where}: {rule.theirs[0]!r} has the shape {given}, which"
            f" does not fit the model that config.json describes ({error})"
        ) from error
    if found.shape != shape:
        raise UserError(
            f"{tensors[rule.theirs[0]].where}: {rule.theirs[0]!r} has the shape"
            f" {list(parts[0].shape)}, which does not fit the model that config.json describes"
        )
    return jnp.asarray(np.asarray(found, np.float32, order="C"))


def flat(variables: Any) -> dict[str, Any]:
    """Variables by path: {"params/vision/class_token": ...}."""
    return {
        "/".join(key.key for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables)
    }


def names_in_file(checkpoint: Checkpoint, architecture: Architecture) -> dict[str, str]:
    """From the normalised names to those of the model's library."""
    named = ((architecture.place(name), name) for name in checkpoint.weights)
    return {place: architecture.library_name(name) for place, name in named if place}


def rest_of(checkpoint: Checkpoint, architecture: Architecture) -> dict[str, Tensor]:
    """What the file has of the model's library and the rules do not read: heads for other tasks and
    buffers, by the library's names."""
    read_ones = {name for rule in architecture.rules for name in rule.theirs}
    return {
        architecture.library_name(name): tensor
        for name, tensor in checkpoint.weights.items()
        if architecture.library_name(name) and architecture.place(name) not in read_ones
    }


def to_tensors(
    rules: Iterable[Rule], variables: Any, names: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Variables as a file of the original library has them.

    Args:
        rules: the layout.
        variables: of the module, or of the part of it that the rules are of.
        names: from normalised names to those in the file, where they differ.
    """
    leaves, found = flat(variables), {}
    for rule in rules:
        arrays = rule.save(np.asarray(leaves[rule.ours]))
        for name, array in zip(rule.theirs, arrays, strict=True):
            found[names.get(name, name)] = np.asarray(array, order="C")
    return found


def weights_of(model: Any, variables: Any = None) -> dict[str, np.ndarray]:
    """The tensors of a model as its library names them.

    Args:
        model: a `mmjax.interop.loading.Pretrained`, which gives names and layout.
        variables: what to give instead of the model's own, such as after training.
    """
    tree = model.variables if variables is None else variables
    return to_tensors(model.architecture.rules, tree, model.names)
