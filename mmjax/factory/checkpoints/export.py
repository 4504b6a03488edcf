"""What was trained in a workdir -> a checkpoint of the original library, or a folder of mmjax."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory import make_model, tuning
from mmjax.factory.checkpoints import joint, own, pretrained
from mmjax.factory.checkpoints.dual_parts import part_of_dual
from mmjax.factory.tables.names import lookup, sample_rate
from mmjax.interop.architecture import Architecture, Checkpoint
from mmjax.interop.encoding.encoder import part_of
from mmjax.interop.joint import from_run, joint_of, moves
from mmjax.interop.weights.checkpoint import copy_beside, open_checkpoint, write_weights
from mmjax.interop.weights.layout import below
from mmjax.interop.weights.recognition import architecture_of
from mmjax.interop.weights.variables import names_in_file, to_tensors
from mmjax.train.checkpoints import workdir as workdirs

# Of a workdir, what a model needs to be used.
KEPT = (
    workdirs.CONFIG_FILE,
    workdirs.LABELS_FILE,
    workdirs.TOKENIZER_FILE,
    workdirs.COUNTS_FILE,
    workdirs.COLUMNS_FILE,
    workdirs.SCALES_FILE,
    workdirs.TUNED_FILE,
)
NPZ = "model.npz"


def export(
    config: ConfigDict, workdir: Path, variables: Any, name: str | None, kind: str, directory: Path
) -> list[str]:
    """Writes what was trained.

    An encoder or a config.model that came from another library goes back in the layout that it
    came in, and nothing that did not train with it beside it; what LoRA added is folded into the
    kernels. An encoder that was trained from nothing is written as `mmjax.factory.checkpoints.own`
    says. All
    else is the model as a whole: its variables by path, with what `mmjax.load` needs.

    Args:
        config, workdir, variables: of the run.
        name: the modality whose encoder is wanted. None: config.model, else the only pretrained
            encoder, else the model as a whole.
        kind: "safetensors"; "mmjax": in the layout of mmjax; "npz": for big_vision.
        directory: where to; is made.

    Returns:
        Lines that say what was written, or not.

    Raises:
        UserError: no such encoder, a layout that it cannot have, or it was tuned by modules that
            its library does not have.
    """
    known, whole = pretrained.chosen(config), joint.kinds(config)
    names = make_model.modalities(config)
    if name is not None:
        lookup(dict.fromkeys(names), name, "--encoder")
    if name in whole:
        raise UserError(
            f"--encoder={name}: {joint.WHERE} was trained as a whole, and apart its encoders would"
            " not fit together: leave --encoder out, and all of it is given back"
        )
    if kind == "npz" and not whole:
        raise UserError(f"{workdir} is a workdir: --to=npz is for published models")
    if name is None and kind != "mmjax" and len(known) > 1 and not whole:
        raise UserError(f"{workdir}: say which encoder with --encoder: {' or '.join(known)}")
    if kind == "mmjax" or not (whole or known):
        if name is None:
            return _as_it_is(workdir, variables, directory)
        if name in known:
            raise UserError(f"--encoder={name} is another library's: give it --to=safetensors")
    if name is None and whole:
        return _whole(config, workdir, variables, kind, directory)
    name = known[0] if name is None else name
    tree = _trees(_folded(config, workdir, variables), f"encoders_{name}")
    if name not in known:
        return _own(config, workdir, tree, name, directory)
    checkpoint = pretrained.checkpoints(config, workdir)[name]
    backbone = {kind: values["backbone"] for kind, values in tree.items()}
    if own.is_own(checkpoint):
        own.write(backbone, directory)
        copy_beside(checkpoint.path, directory)
        return []
    return _tower(config, checkpoint, backbone, name, directory)


def _folded(config: ConfigDict, workdir: Path, variables: Any) -> Mapping[str, Any]:
    how, params = tuning.tuning(config), variables["params"]
    if not how.key or how.key not in params:
        return variables
    if not hasattr(how, "merge"):
        raise UserError(
            f"{workdir} was tuned with {config.tuning.name!r}, which cannot be folded into the"
            " original's weights: only 'lora' can; --to=mmjax gives the model as it is"
        )
    return {**variables, "params": how.merge(params)}


def _trees(variables: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {kind: tree[name] for kind, tree in variables.items() if name in tree}


def _as_it_is(workdir: Path, variables: Any, directory: Path) -> list[str]:
    """The model as a whole."""
    own.write(variables, directory)
    for file in (workdir / name for name in KEPT if (workdir / name).is_file()):
        shutil.copyfile(file, directory / file.name)
    if (workdir / pretrained.FOLDER).is_dir():
        shutil.copytree(workdir / pretrained.FOLDER, directory / pretrained.FOLDER)
    return [f"the whole model, in the layout of mmjax: mmjax.load({str(directory)!r})"]


def _own(config: ConfigDict, workdir: Path, tree: Any, name: str, directory: Path) -> list[str]:
    """An encoder that was trained from nothing."""
    words, vocabulary_size = workdir / workdirs.TOKENIZER_FILE, 0
    reads = make_model.kind_of(config, name) == "text" and words.is_file()
    if reads:
        vocabulary_size = own.tokenizer.load(words).get_vocab_size()
    described = {
        "kind": make_model.kind_of(config, name),
        "encoder": config.encoders[name].to_dict(),
        "width": config.width,
        "vocabulary_size": vocabulary_size,
        "sample_rate": sample_rate(config, name),
    }
    own.write_encoder(tree, described, words if reads else None, directory)
    return [f"an encoder in the layout of mmjax: mmjax.pretrained({str(directory)!r})"]


def _whole(
    config: ConfigDict, workdir: Path, variables: Any, kind: str, directory: Path
) -> list[str]:
    """config.model, its projections, temperature and bias included."""
    folded = _folded(config, workdir, variables)
    checkpoint = pretrained.checkpoints(config, workdir)[joint.MODEL]
    architecture, behind = joint.checked(config, checkpoint, np.float32)
    if kind == "npz" and architecture.name != "big_vision":
        raise UserError(f"--to=npz is for big_vision, not for {architecture.name}: safetensors")
    places = moves(architecture, behind, joint.kinds(config))
    trained = from_run(folded, places, architecture)
    found = to_tensors(architecture.rules, trained, names_in_file(checkpoint, architecture))
    found |= _buffers(config.model.path, checkpoint, architecture)
    directory.mkdir(parents=True, exist_ok=True)
    copy_beside(checkpoint.path, directory)
    if kind == "npz":
        np.savez(directory / NPZ, **found)
    else:
        write_weights(found, directory)
    rest = [n for n in make_model.modalities(config) if n not in joint.kinds(config)]
    rest += ["critic"] if config.get("critic") is not None else []
    return [*_lacking(checkpoint, architecture, found), *(f"{n} is not in it" for n in rest)]


def _buffers(
    path: str, checkpoint: Checkpoint, architecture: Architecture
) -> dict[str, np.ndarray]:
    """What is in the original's files and is no parameter, as far as it is at hand."""
    origin = Path(path).expanduser()
    there = open_checkpoint(origin).weights if origin.exists() else {}
    found = {}
    for name, tensor in checkpoint.weights.items():
        library = architecture.library_name(name)
        if not library or architecture.place(name):
            continue
        if name in there:
            found[library] = np.asarray(there[name].read())
        elif tensor.shape in ((), (1,)):
            value = tensor.read()
            found[library] = value.astype(np.int64) if (value % 1 == 0).all() else value
    return found


def _tower(
    config: ConfigDict, checkpoint: Checkpoint, backbone: Any, name: str, directory: Path
) -> list[str]:
    """A pretrained encoder. Of a model of one space it goes alone: the rest did not train along."""
    architecture = architecture_of(checkpoint, np.float32)
    kind = make_model.kind_of(config, name)
    part = part_of(architecture, kind, f"config.encoders.{name}")
    rules = below(architecture.rules, part.path) if part.path else architecture.rules
    found = to_tensors(rules, backbone, names_in_file(checkpoint, architecture))
    if joint_of(architecture) is not None:
        return part_of_dual(checkpoint, architecture, kind, found, directory)
    named = _named(checkpoint, architecture)
    lacking = sorted(named.keys() - found.keys())
    origin = Path(config.encoders[name].path).expanduser()
    notes = []
    if lacking and origin.exists():
        rest = open_checkpoint(origin).weights
        there = [n for n in lacking if named[n] in rest]
        kept = {n: np.asarray(rest[named[n]].read()) for n in there}
        found |= kept
        behind = [n for n in kept if architecture.normalise(n)]
        if behind:
            notes.append(
                f"{len(behind)} tensors are the original's and did not train with this encoder,"
                f" such as {behind[0]}"
            )
    directory.mkdir(parents=True, exist_ok=True)
    copy_beside(checkpoint.path, directory)
    write_weights(found, directory)
    return [*notes, *_lacking(checkpoint, architecture, found)]


def _named(checkpoint: Checkpoint, architecture: Architecture) -> dict[str, str]:
    """From its library's names of a model's tensors to those of the file."""
    named = {architecture.library_name(name): name for name in checkpoint.weights}
    named.pop("", None)
    return named


def _lacking(
    checkpoint: Checkpoint, architecture: Architecture, found: Mapping[str, Any]
) -> list[str]:
    lacking = sorted(_named(checkpoint, architecture).keys() - found.keys())
    if not lacking:
        return []
    return [f"{len(lacking)} tensors of the original are not in it, such as {lacking[0]}"]
