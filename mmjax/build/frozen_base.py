"""config.train.adapter_only: checkpoints without what the files of pretrained encoders hold."""

import functools
import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmjax.build import pretrained
from mmjax.build.make_model import kind_of
from mmjax.build.tuning import trains
from mmjax.train.partition import Base, names_of, path_name
from mmjax.train.workdir import read_json, write_json
from mmjax.types import UserError

FILE = "base.json"  # of a workdir: by modality, where its encoder came from, and a hash of it


def base(config: ConfigDict, workdir: Path, params: Any) -> Base | None:
    """What checkpoints leave out: frozen parameters of pretrained encoders; None: nothing.

    What is frozen but was drawn stays in: on other devices a seed may give other numbers.

    Raises:
        UserError: `config.train.adapter_only`, and there is nothing to leave out.
    """
    if not config.train.get("adapter_only", False):
        return None
    towers = tuple(f"encoders_{name}/tower/" for name in pretrained.chosen(config))
    keeps = jax.tree_util.tree_map_with_path(
        lambda path, free: free or not path_name(path).startswith(towers), trains(config, params)
    )
    if all(jax.tree.leaves(keeps)):
        raise UserError(
            "config.train.adapter_only: no pretrained encoder is frozen, so checkpoints can leave"
            " nothing out; set it to False, or choose a config.tuning"
        )
    return Base(keeps, functools.partial(_read, config, workdir))


def first_variables(config: ConfigDict, workdir: Path) -> tuple[dict[str, Any], list[str]]:
    """As those of `pretrained`; the workdir notes what later starts must find again."""
    tree, notes = pretrained.first_variables(config, kind_of)
    if config.train.get("adapter_only", False):
        noted = {}
        for name in pretrained.chosen(config):
            path = str(Path(config.encoders[name].path).expanduser().absolute())
            noted[name] = {"path": path, "sha256": _hash(tree["params"][f"encoders_{name}"])}
        write_json(workdir / FILE, noted)
    return tree, notes


def _read(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    noted, config = read_json(workdir / FILE), config.copy_and_resolve_references()
    advice = f"put it back, or write its new place into {workdir / FILE}"
    for name, entry in noted.items():
        config.encoders[name].path = entry["path"]
    try:
        tree = pretrained.first_variables(config, kind_of)[0]["params"]
    except UserError as error:
        raise UserError(f"{workdir} keeps only what trained, and {error}; {advice}") from error
    for name, entry in noted.items():
        if _hash(tree[f"encoders_{name}"]) != entry["sha256"]:
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
