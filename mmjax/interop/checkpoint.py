"""What lies beside the weights of a published model: its configs and small files."""

import json
import shutil
from pathlib import Path
from typing import Any

from mmjax.interop.architecture import Checkpoint
from mmjax.interop.formats.open_weights import open_weights
from mmjax.interop.sentence_folder import folders
from mmjax.types import UserError

CONFIGS = ("config.json", "open_clip_config.json")
TENSORS_FILE = "tensors.json"  # of a skeleton: the shapes of the weights, by name
COPIED = (".json", ".txt", ".model", ".gz")  # configs, vocabularies and tokenizers


def read_config(path: Path) -> dict[str, Any]:
    """The config of a directory, or of the directory of a file; {} if there is none.

    Raises:
        UserError: it is no JSON table.
    """
    folder = path if path.is_dir() else path.parent
    found = (folder / name for name in CONFIGS if (folder / name).is_file())
    file = next(found, None)
    return {} if file is None else read_config_file(file)


def read_config_file(file: Path) -> dict[str, Any]:
    """A table in JSON.

    Raises:
        UserError: the file is missing or holds something else.
    """
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}; fetch it anew") from error
    if not isinstance(found, dict):
        raise UserError(f"{file} holds no table: fetch it anew")
    return found


def copy_beside(path: Path, directory: Path) -> None:
    """Copies the small files of a model's directory; of a file that stands alone, none."""
    for folder in ("", *folders(path)) if path.is_dir() else ():
        (directory / folder).mkdir(parents=True, exist_ok=True)
        for file in (path / folder).iterdir():
            listing = file.name.endswith((".index.json", TENSORS_FILE))
            if file.suffix in COPIED and file.is_file() and not listing:
                shutil.copyfile(file, directory / folder / file.name)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """A model on the disk, of which nothing but the names and sizes is read yet.

    Raises:
        UserError: there is none, or its files are damaged.
    """
    path = Path(path).expanduser()
    return Checkpoint(path, read_config(path), open_weights(path))
