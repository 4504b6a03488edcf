"""The config of a workdir, of whatever version wrote it."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.config.check import checked
from mmjax.factory.make_model import as_config
from mmjax.train.checkpoints import workdir as workdirs

OLD_NAMES = {"batch/label": "batch/targets/label", "batch/targets": "batch/targets/tags"}
OLD_ROOMS = {"fooling/": "generator_score/"}  # first parts of the names of arrays


def _renamed(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored config with the names that keys and arrays have now."""
    data = dict(stored.get("data") or {}) if isinstance(stored.get("data"), dict) else {}
    target = data.pop("transcript", None)
    if target is not None:
        stored = {**stored, "data": data, "target": target}
    train = stored.get("train")
    if isinstance(train, dict) and "adapter_only" in train:
        train = {k: v for k, v in train.items() if k != "adapter_only"}
        train["delta_checkpoints"] = stored["train"]["adapter_only"]
        stored = {**stored, "train": train}
    return _with_names(stored, {**OLD_NAMES, "batch/transcript": f"batch/targets/{target}"})


def _with_names(tree: Any, names: dict[str, str]) -> Any:
    if isinstance(tree, dict):
        return {key: _with_names(value, names) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_names(value, names) for value in tree]
    if not isinstance(tree, str):
        return tree
    old = next((room for room in OLD_ROOMS if tree.startswith(room)), "")
    return OLD_ROOMS[old] + tree.removeprefix(old) if old else names.get(tree, tree)


def completed(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored config with defaults for keys that it was written without; raises as `checked`."""
    return checked(as_config(_renamed(stored))).to_dict()


def stored_config(path: Path) -> ConfigDict:
    """The config of a workdir, with defaults for keys that it was written without.

    Raises:
        UserError: it has none, or one that cannot be (see `checked`).
    """
    stored = workdirs.read_json(path / workdirs.CONFIG_FILE)
    if not isinstance(stored, dict):
        raise UserError(f"{path / workdirs.CONFIG_FILE} is no table of keys; restore it")
    try:
        return checked(as_config(_renamed(stored)))
    except UserError as error:
        raise UserError(f"{path / workdirs.CONFIG_FILE}: {error}") from error
