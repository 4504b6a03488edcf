"""config.train.delta_checkpoints: checkpoints without what files of pretrained encoders hold."""

import functools
import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.checkpoints import joint, pretrained
from mmjax.factory.make_model import kind_of
from mmjax.factory.tuning import trains
from mmjax.train.checkpoints.workdir import read_json, write_json
from mmjax.train.partition import Base, names_of, path_name

# Of a workdir: by modality, where its encoder came from, and a hash of it; "model": config.model.
FILE = "base.json"


def base(config: ConfigDict, workdir: Path, params: Any) -> Base | None:
    """What checkpoints leave out: frozen parameters of pretrained encoders; None: nothing.

    What is frozen but was drawn stays in: on other devices a seed may give other numbers.

    Raises:
        UserError: `config.train.delta_checkpoints`, and there is nothing to leave out.
    """
    if not config.train.get("delta_checkpoints", False):
        return None
    backbones = tuple(f"encoders_{name}/backbone/" for name in pretrained.chosen(config))
    backbones += joint.prefixes(config)
    keeps = jax.tree_util.tree_map_with_path(
        lambda path, free: free or not path_name(path).startswith(backbones), trains(config, params)
    )
    if all(jax.tree.leaves(keeps)):
        raise UserError(
            "config.train.delta_checkpoints: no pretrained encoder is frozen, so checkpoints can"
            " leave nothing out; set it to False, or choose a config.tuning"
        )
    return Base(keeps, functools.partial(_read, config, workdir))


def first_variables(config: ConfigDict, workdir: Path) -> tuple[dict[str, Any], list[str]]:
    """As those of `pretrained` and `joint`; the workdir notes what later starts must find again."""
    tree, notes = _given(config)
    if config.train.get("delta_checkpoints", False):
        noted = {}
        for name, spec in pretrained.entries(config).items():
            path = str(Path(spec.path).expanduser().absolute())
            noted[name] = {"path": path, "sha256": _hash(_own(config, tree["params"], name))}
        write_json(workdir / FILE, noted)
    return tree, notes


def _given(config: ConfigDict) -> tuple[dict[str, Any], list[str]]:
    tree, notes = pretrained.first_variables(config, kind_of)
    if joint.kinds(config):
        whole, report = joint.first_variables(config)
        for collection, values in whole.items():
            tree[collection] = tree.get(collection, {}) | values
        notes.append(f"{joint.WHERE} from {config.model.path}: {report}")
    return tree, notes


def _own(config: ConfigDict, params: Any, name: str) -> Any:
    """The parameters that came from the checkpoint of an entry."""
    if name != joint.MODEL:
        return params[f"encoders_{name}"]
    starts = tuple(start.removesuffix("backbone/") for start in joint.prefixes(config))
    return {key: tree for key, tree in params.items() if f"{key}/".startswith(starts)}


def _read(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    noted, config = read_json(workdir / FILE), config.copy_and_resolve_references()
    advice = f"put it back, or write its new place into {workdir / FILE}"
    for name, entry in noted.items():
        pretrained.entries(config)[name].path = entry["path"]
    try:
        tree = _given(config)[0]["params"]
    except UserError as error:
        raise UserError(f"{workdir} keeps only what trained, and {error}; {advice}") from error
    for name, entry in noted.items():
        if _hash(_own(config, tree, name)) != entry["sha256"]:
            raise UserError(
                f"{entry['path']} has changed since {workdir} was trained from it; {advice}"
            )
    return tree


def _hash(tree: Any) -> str:
    digest = hashlib.sha256()
    for name, leaf in zip(names_of(tree), jax.tree.leaves(tree), strict=True):
        digest.update(f"{name} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf))
    return digest.hexdigest()
