"""What lies beside the weights of a published model: its configs and small files."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.errors import UserError
from mmjax.interop.architecture import Checkpoint
from mmjax.interop.formats import safetensors
from mmjax.interop.formats.open_weights import open_weights
from mmjax.interop.formats.tensors import Weights
from mmjax.interop.sentence_folder import folders, model_folder

MAX_CONFIG_BYTES = 2**26
CONFIGS = ("config.json", "open_clip_config.json")
TENSORS_FILE = "tensors.json"  # of a manifest: the shapes of the weights, by name
WEIGHTS = (".safetensors", ".bin")  # in the folder of a further module
# What says of a file how it is built and how its inputs are made.
BESIDE = (
    *(*CONFIGS, "preprocessor_config.json", "processor_config.json"),
    *("video_preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt"),
    *("spiece.model", "sentencepiece.bpe.model", "bpe_simple_vocab_16e6.txt.gz"),
)
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
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise UserError(f"{file} has over {MAX_CONFIG_BYTES} bytes and is no config")
        found = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}; fetch it anew") from error
    if not isinstance(found, dict):
        raise UserError(f"{file} holds no table: fetch it anew")
    return found


def copy_beside(path: Path, directory: Path) -> None:
    """Copies the small files of a model's directory; of a file, what says beside it what it is."""
    for name in BESIDE if path.is_file() else ():
        if (path.parent / name).is_file():
            directory.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.parent / name, directory / name)
    for folder in ("", *folders(path)) if path.is_dir() else ():
        (directory / folder).mkdir(parents=True, exist_ok=True)
        for file in (path / folder).iterdir():
            listing = file.name.endswith((".index.json", TENSORS_FILE))
            if file.suffix in COPIED and file.is_file() and not listing:
                shutil.copyfile(file, directory / folder / file.name)


def write_weights(tensors: Mapping[str, np.ndarray], directory: Path) -> Path:
    """Writes model.safetensors, and one in the folder of each further module that has tensors.

    Args:
        tensors: by name; those of further modules are called FOLDER/NAME.
        directory: with the small files already.

    Returns:
        The file in the directory itself.
    """
    rest = dict(tensors)
    for folder in folders(directory):
        start = f"{folder}/"
        own = {name: rest.pop(name) for name in tensors if name.startswith(start)}
        if own:
            own = {name.removeprefix(start): tensor for name, tensor in own.items()}
            safetensors.write(directory / folder / "model.safetensors", own)
    safetensors.write(directory / "model.safetensors", rest)
    return directory / "model.safetensors"


def further_weights(path: Path) -> Weights:
    """The tensors of a sentence-transformers model's further modules, as FOLDER/NAME.

    Raises:
        UserError: a file is damaged.
    """
    found = {}
    for folder in folders(path) if path.is_dir() else ():
        if any(file.suffix in WEIGHTS for file in (path / folder).iterdir()):
            for name, tensor in open_weights(path / folder).items():
                found[f"{folder}/{name}"] = tensor
    return found


def open_checkpoint(path: str | Path) -> Checkpoint:
    """A model on the disk, of which nothing but the names and sizes is read yet.

    Raises:
        UserError: there is none, or its files are damaged.
    """
    path = model_folder(Path(path).expanduser())
    return Checkpoint(path, read_config(path), {**open_weights(path), **further_weights(path)})
