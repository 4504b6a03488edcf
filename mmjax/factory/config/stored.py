"""The config of a workdir, of whatever version wrote it."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.config.check import checked
from mmjax.factory.make_model import as_config
from mmjax.train.checkpoints import workdir as workdirs

OLD_NAMES = {"batch/label": "batch/targets/label", "batch/targets": "batch/targets/tags"}


def _renamed(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored config with the names that keys and arrays have now."""
    data = dict(stored.get("data") or {}) if isinstance(stored.get("data"), dict) else {}
    target = data.pop("transcript", None)
    if target is not None:
        stored = {**stored, "data": data, "target": target}
    return _with_names(stored, {**OLD_NAMES, "batch/transcript": f"batch/targets/{target}"})


def _with_names(tree: Any, names: dict[str, str]) -> Any:
    if isinstance(tree, dict):
        return {key: _with_names(value, names) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_names(value, names) for value in tree]
    return names.get(tree, tree) if isinstance(tree, str) else tree


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
