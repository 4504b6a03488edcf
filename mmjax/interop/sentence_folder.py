"""The folder of a sentence-transformers model: modules.json lists what follows the transformer."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from mmjax.errors import UserError

LIST = "modules.json"


class Module(NamedTuple):
    """An entry of modules.json.

    kind: the last part of the name of its class, such as "Pooling".
    folder: with its config.json and its weights; "" for the model's own.
    """

    kind: str
    folder: str


def modules(path: Path) -> list[Module]:
    """In the order in which they are run; [] if the directory is none of sentence-transformers.

    Raises:
        UserError: modules.json is damaged, or names a folder outside.
    """
    file = path / LIST
    if not file.is_file():
        return []
    try:
        entries: Any = json.loads(file.read_text())
        found = [Module(entry["type"].rpartition(".")[2], entry["path"]) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} is not a list of modules ({error}): fetch it anew") from error
    for module in found:
        folder = module.folder
        if not isinstance(folder, str) or folder == ".." or folder != Path(folder).name:
            raise UserError(f"{file}: {folder!r} is not a folder beside it: fetch it anew")
    return found


def model_folder(path: Path) -> Path:
    """Where the files of the model are: a CLIP of sentence-transformers has them in a folder of its
    own, such as 0_CLIPModel, as transformers stores them; of all others it is the path itself.

    Raises:
        UserError: modules.json is damaged, or something follows the CLIP but its normalisation.
    """
    found = modules(path) if path.is_dir() else []
    if not found or found[0].kind != "CLIPModel":
        return path
    if others := [module.kind for module in found[1:] if module.kind != "Normalize"]:
        raise UserError(
            f"{path / LIST} lists {', '.join(others)} after CLIPModel: mmjax runs CLIP alone there"
        )
    return path / found[0].folder


def folders(path: Path) -> list[str]:
    """The folders of the further modules, those that are there: a module without a config or
    weights often has none."""
    named = [module.folder for module in modules(path) if module.folder]
    return [folder for folder in named if (path / folder).is_dir()]
