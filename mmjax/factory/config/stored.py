"""The config of a workdir, of whatever version wrote it."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.config.check import checked
from mmjax.factory.make_model import as_config
from mmjax.train.checkpoints import workdir as workdirs


def completed(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored config with defaults for keys that it was written without; raises as `checked`."""
    return checked(as_config(stored)).to_dict()


def stored_config(path: Path) -> ConfigDict:
    """The config of a workdir, with defaults for keys that it was written without.

    Raises:
        UserError: it has none, or one that cannot be (see `checked`).
    """
    stored = workdirs.read_json(path / workdirs.CONFIG_FILE)
    if not isinstance(stored, dict):
        raise UserError(f"{path / workdirs.CONFIG_FILE} is no table of keys; restore it")
    try:
        return checked(as_config(stored))
    except UserError as error:
        raise UserError(f"{path / workdirs.CONFIG_FILE}: {error}") from error
