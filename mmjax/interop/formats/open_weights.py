"""The weights of a file or a folder, in whichever format they are."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmjax.errors import UserError
from mmjax.interop.formats import ctranslate2, npz, safetensors, torch_file, zip_file
from mmjax.interop.formats.reading import File, shown
from mmjax.interop.formats.tensors import Tensor, Weights

INDEX = ".index.json"
# What libraries call their weights, the first of them first. A folder may have several: the same
# weights for several libraries.
USUAL = {
    ".safetensors": ("model.safetensors", "open_clip_model.safetensors"),
    "": ("pytorch_model.bin", "open_clip_pytorch_model.bin", "model.bin"),
}
# Any name with one of these, where there is none of the usual names.
SUFFIXES = {
    ".safetensors": (".safetensors",),
    "": (".bin", ".pt", ".pth", ".pth.tar", ".ckpt", ".npz"),
}


def open_weights(path: str | Path) -> Weights:
    """The tensors of a file or a folder by name; nothing but headers is read.

    Files: safetensors, PyTorch (`torch.save` since 2017, TorchScript), NumPy's .npz, CTranslate2's
    model.bin, and the index of a sharded model. The contents say which, not the name. Folders: the
    usual names of libraries, or else the only file of weights; safetensors before the rest, as in
    transformers.

    Raises:
        UserError: nothing there, another kind of file, a damaged one, a pickle that wants to run
            something, no tensor in it, or a folder where it is unclear which file is the model.
    """
    path = Path(path)
    weights = _open_file(_choose(path) if os.path.isdir(path) else path)
    if not weights:
        raise UserError(f"{path}: has no arrays of numbers; name the file with the weights")
    return weights


def _choose(folder: Path) -> Path:
    """The file of a folder that has its weights.

    Raises:
        UserError: no such file, or two models.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); check the path") from None
    for kind, usual in USUAL.items():
        for name in usual:
            index = f"{name}{INDEX}"
            if index in names:
                if name in names and name not in _shards(File(folder / index)).values():
                    raise UserError(
                        f"{folder}: has two models, {name} and {index}; name one of these files"
                    )
                return folder / index
            if name in names:
                return folder / name
        found = [name for name in names if name.endswith(SUFFIXES[kind])]
        indexes = [n for n in names if n.endswith(tuple(f"{s}{INDEX}" for s in SUFFIXES[kind]))]
        if len(indexes) == 1:
            return folder / indexes[0]
        found = indexes or found
        if len(found) > 1:
            raise UserError(
                f"{folder}: it is unclear which file is the model, {' or '.join(found[:8])};"
                " name one of these files"
            )
        if found:
            return folder / found[0]
    raise UserError(
        f"{folder}: has no weights ({', '.join(name for row in USUAL.values() for name in row)},"
        f" or one {', '.join(s for row in SUFFIXES.values() for s in row)}); check the path"
    )


def _open_file(path: Path) -> Weights:
    file = File(path)
    if file.size == 0:
        raise file.damaged("is empty")
    start = file.read(0, min(file.size, 64)).tobytes()
    known = next((what for mark, what in OTHERS.items() if start.startswith(mark)), None)
    if start.startswith(b"PK\x03\x04"):
        members = zip_file.members(file)
        if any(name.endswith(torch_file.PICKLE) for name in members):
            return torch_file.read_zip(file, members)
        if any(name.endswith(npz.SUFFIX) for name in members):
            return npz.read(file, members)
        raise UserError(f"{file.where}: a zip archive without weights; unpack it and name a file")
    if start.startswith(torch_file.LEGACY_START):
        return torch_file.read_legacy(file)
    if safetensors.is_safetensors(file):
        return safetensors.read(file)
    if ctranslate2.is_ctranslate2(file):
        return ctranslate2.read(file)
    if path.name.endswith(INDEX):
        return _open_shards(file)
    if path.suffix == ".safetensors" and not known:
        return safetensors.read(file)  # and say what is wrong with it
    raise UserError(
        f"{file.where}: {known or 'not weights of a known format, or damaged'}; mmjax reads"
        " safetensors, PyTorch, .npz and CTranslate2 files"
    )


OTHERS = {
    b"version https://git-lfs": "a git-lfs pointer and not the file (run `git lfs pull`)",
    b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF file",
    b"\x93NUMPY": "a single .npy array without a name (save it with numpy.savez)",
    b"\x80\x02": "a Python pickle and not of PyTorch's",
    b"<!": "a web page and not the file",
}


def _shards(index: File) -> dict[str, str]:
    """The file of each tensor, by an index.

    Raises:
        UserError: no weight_map, or a file outside of the folder.
    """
    weight_map = safetensors.parse_json(index, index.read(0, index.size).tobytes()).get(
        "weight_map"
    )
    if not isinstance(weight_map, dict) or not all(
        isinstance(name, str) and Path(name).name == name and not name.endswith(INDEX)
        for name in weight_map.values()
    ):
        raise index.damaged("has no weight_map of tensors to files in its folder")
    return weight_map


def _open_shards(index: File) -> Weights:
    """The tensors of all shards; also those that the index forgot.

    Raises:
        UserError: a shard is missing or damaged, a tensor is missing from its shard, or two shards
            have it and the index does not say which one counts.
    """
    shards = _shards(index)
    weights: dict[str, Tensor] = {}
    for shard in dict.fromkeys(shards.values()):
        path = index.path.with_name(shard)
        if not os.path.isfile(path):
            raise UserError(f"{index.where}: its shard {shown(shard)} is missing; fetch it too")
        for name, tensor in _open_file(path).items():
            if shards.get(name, shard) != shard:
                continue
            if name in weights:
                raise index.damaged(f"{shown(name)} is in two of its shards")
            weights[name] = tensor
    _check_complete(index, shards, weights)
    return weights


def _check_complete(index: File, shards: Mapping[str, str], weights: Mapping[str, Any]) -> None:
    for name, shard in shards.items():
        if name not in weights:
            raise index.damaged(f"{shown(name)} is missing from its shard {shown(shard)}")
