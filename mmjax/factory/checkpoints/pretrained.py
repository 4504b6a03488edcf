"""config.encoders.NAME with name "pretrained" -> an encoder, its first weights, its tokenizer.

A whole model in `config.model` is read here, too; what is made of it is in
`mmjax.factory.checkpoints.joint`.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.checkpoints import own
from mmjax.factory.tables.names import lookup
from mmjax.interop.architecture import Checkpoint
from mmjax.interop.encoding import front_ends
from mmjax.interop.encoding.encoder import (
    OUTPUTS,
    PretrainedEncoder,
    part_of,
    preparation,
    takes_spectrograms,
)
from mmjax.interop.encoding.spectrograms import seen
from mmjax.interop.preprocess import processors
from mmjax.interop.preprocess.images.processor import image_processor
from mmjax.interop.preprocess.texts.reading_texts import text_reader
from mmjax.interop.weights import manifest
from mmjax.interop.weights.checkpoint import TENSORS_FILE, open_checkpoint
from mmjax.interop.weights.recognition import architecture_of
from mmjax.interop.weights.variables import read_variables

NAME = "pretrained"
MODEL = "model"  # config.model: one checkpoint for several modalities
FOLDER = "pretrained"  # of a workdir: what a checkpoint had besides its weights
OPTIONS = ("path", "freeze", "output", "pixel_mean", "pixel_std", "sample_rate")
WHOLE = ("name", "path", "freeze", "kinds", "sample_rate")  # of config.model
Checkpoints = Mapping[str, Checkpoint]


def pretrained(
    path: str | Path, *, freeze: bool | tuple[str, ...] = False, **options: Any
) -> ConfigDict:
    """The entry of a config for an encoder from somebody's checkpoint, or for a whole model.

    As `config.model` it is a model of one space, with its own projections and temperature: see
    `mmjax.factory.checkpoints.joint`. As an encoder it may be one that mmjax trained and
    `mmjax.convert` wrote.

    Sounds are resampled to the rate that the model takes (most: 16 kHz; CLAP: 48 kHz). They come
    at `sample_rate`, or as the data set says (see `mmjax.factory.tables.names.sample_rate`). A
    model of pictures with `kind="audio"` sees spectrograms, at any rate.

    Args:
        path: a directory or file; see `mmjax.interop.load`.
        freeze: whether it stays as it is. Of a whole model also a tuple of what does: modalities,
            "projections", "temperature" (and the bias).
        options: `kind` of the input, if that is not the modality's name; `output`: "sequence" (all
            tokens) or "pooled" (the model's own summary); `pixel_mean`, `pixel_std`, with pixels
            in 0..1, where no file of the checkpoint says them; `sample_rate` of the data in Hz.
            Of a whole model `kinds`, by modality, where its name is not the kind of input.
    """
    return ConfigDict({"name": NAME, "path": str(path), "freeze": freeze, **options})


def chosen(config: ConfigDict) -> tuple[str, ...]:
    """The modalities of a config whose encoders are pretrained."""
    encoders = config.get("encoders", {})
    names = [n for n in config.modalities if n in encoders]
    return tuple(n for n in names if encoders[n].get("name") == NAME)


def entries(config: ConfigDict) -> dict[str, ConfigDict]:
    """The entries of a config that name a checkpoint: by modality, and config.model as MODEL."""
    found = {name: config.encoders[name] for name in chosen(config)}
    return found if config.get(MODEL) is None else found | {MODEL: config[MODEL]}


def key_of(name: str) -> str:
    """The config key of an entry."""
    return f"config.{MODEL}" if name == MODEL else f"config.encoders.{name}"


def checkpoints(config: ConfigDict, workdir: Path | None = None) -> dict[str, Checkpoint]:
    """The checkpoints that a config names, by modality, and that of config.model as MODEL.

    Args:
        config: of the run.
        workdir: what it has kept of them is used, and what it has not is put there. None: the
            checkpoints where the config says.

    Raises:
        UserError: an option that there is not, or a checkpoint that is missing or damaged.
    """
    found = {}
    for name, spec in entries(config).items():
        where = key_of(name)
        options = WHOLE if name == MODEL else ("name", "kind", *OPTIONS)
        for key in spec:
            lookup(dict.fromkeys(options), key, where)
        lookup(OUTPUTS, spec.get("output", "sequence"), f"{where}.output")
        kept = None if workdir is None else workdir / FOLDER / name
        if kept is None or not (kept / TENSORS_FILE).exists():
            if not spec.get("path"):
                raise UserError(f"{where}.path: say where the checkpoint is")
            found[name] = open_checkpoint(spec.path)
        if kept is not None:
            if name in found:
                manifest.write(found[name], kept)
            found[name] = manifest.read(kept)
    return found


def encoder(
    checkpoint: Checkpoint,
    spec: ConfigDict,
    kind: str,
    where: str,
    *,
    width: int,
    dtype: Any,
    rate: int = front_ends.RATE,
) -> Any:
    """The encoder that an entry of a config describes.

    Args:
        checkpoint, spec, kind, where: the model, the entry, its kind of input and its config key.
        width, dtype: of the tokens.
        rate: of sounds in Hz, from which they are resampled if the model takes another.

    Raises:
        UserError: the model does not encode this kind of input, or cannot be run, or a
            `sample_rate` of what is no sound.
    """
    if kind != "audio" and "sample_rate" in spec:
        raise UserError(f"{where}.sample_rate is for kind='audio', not {kind!r}: leave it out")
    if own.is_own(checkpoint):
        return own.encoder(checkpoint, spec, kind, where, width=width, dtype=dtype, rate=rate)
    architecture = architecture_of(checkpoint, dtype)
    part = part_of(architecture, kind, where)
    prepare = prepared(checkpoint, architecture, part, spec, kind, rate)
    return PretrainedEncoder(part.module, prepare, width, spec.get("output", "sequence"), dtype)


def prepared(
    checkpoint: Checkpoint, architecture: Any, part: Any, spec: ConfigDict, kind: str, rate: int
) -> Any:
    """What turns raw input of a kind, sounds at `rate` Hz, into the inputs of a part."""
    sees = takes_spectrograms(architecture, kind)
    wanted = {name: spec.get(f"pixel_{name}") for name in ("mean", "std")}
    prepare = preparation(part, "image" if sees else kind, checkpoint, wanted, architecture.name)
    if sees:
        return functools.partial(seen, sample_rate=rate, see=prepare)
    if kind == "audio":
        target = prepare.keywords.get("sample_rate", front_ends.RATE)
        return functools.partial(front_ends.resampled, rate=rate, target=target, prepare=prepare)
    return prepare


def frozen(config: ConfigDict) -> tuple[str, ...]:
    """Regular expressions on the paths of the parameters of the encoders that stay as they are."""
    return tuple(
        f"^encoders_{name}/backbone/"
        for name in chosen(config)
        if config.encoders[name].get("freeze", False)
    )


def first_variables(config: ConfigDict, kind_of: Any) -> tuple[dict[str, Any], list[str]]:
    """What the checkpoints give of the model's variables, by collection, and a report of each.

    Args:
        config: of the run.
        kind_of: (config, modality) -> the kind of its input.
    """
    tree: dict[str, Any] = {}
    notes = []
    for name, checkpoint in checkpoints(config).items():
        if name == MODEL:
            continue
        if own.is_own(checkpoint):
            note(tree, name, own.variables(checkpoint, kind_of(config, name), key_of(name)))
            notes.append(f"{name} from {checkpoint.path}: an encoder that mmjax trained")
            continue
        architecture = architecture_of(checkpoint, np.float32)
        part = part_of(architecture, kind_of(config, name), f"config.encoders.{name}")
        variables, report = read_variables(checkpoint, architecture, part.path)
        note(tree, name, variables)
        notes.append(f"{name} from {checkpoint.path}: {report}")
    return tree, notes


def note(tree: dict[str, Any], name: str, variables: Mapping[str, Any]) -> None:
    """Puts the variables of a backbone, by collection, where the encoder of a modality has them."""
    for collection, values in variables.items():
        tree.setdefault(collection, {})[f"encoders_{name}"] = {"backbone": values}


def shape_of(
    spec: Mapping[str, Any], kind: str, texts: Sequence[str], most: int
) -> tuple[int, ...]:
    """The shape of an example that suits an encoder of an entry; () where nothing says it.

    Args:
        spec: the entry.
        kind: of its input: an image is as large as the files of the checkpoint make it, and a text
            as long as nearly all of `texts` are by its tokenizer.
        texts: some.
        most: ids of a text.

    Raises:
        UserError: see `checkpoints` and `encode_texts`.
    """
    checkpoint = open_checkpoint(spec["path"])
    if own.is_own(checkpoint) or kind not in ("image", "text"):
        return ()
    architecture = architecture_of(checkpoint, np.float32)
    if kind == "text":
        processor = text_reader(checkpoint.path, checkpoint.config, architecture)
        if processor.fixed:
            return (processor.settings.length,)
        known = processor.settings.length or most
        read = functools.partial(processor, padding="longest")
        lengths = [read([text])["input_ids"].shape[1] for text in texts if text] or [known]
        return (min(int(np.percentile(lengths, 95)), known, most),)
    files = processors.of_images(checkpoint, architecture.name)
    if not files:
        return ()
    pixels = image_processor(files)([np.zeros((256, 256, 3), np.uint8)])["pixel_values"]
    return (*pixels.shape[2:], 3) if pixels.ndim == 4 else ()  # else it takes any size


def encode_texts(checkpoint: Checkpoint, length: int, *, padded: bool = False) -> Any:
    """texts -> (ids int32 [n length], mask bool [n length]), by the checkpoint's own tokenizer.

    A text that is empty is one that is missing: its mask is all False. `padded`: the model reads
    the padding as it reads words, so that it is real.

    Raises:
        UserError: the model was trained on texts of another length, whose padding it sees.
    """
    if own.is_own(checkpoint):
        return own.encode_texts(checkpoint, length)
    architecture = architecture_of(checkpoint, np.float32)
    processor = text_reader(checkpoint.path, checkpoint.config, architecture)
    if processor.fixed and length != processor.settings.length:
        raise UserError(
            f"config.data.text_length={length}: this model reads texts of"
            f" {processor.settings.length} ids, padding included: set it to that"
        )

    def encode(texts: Any) -> tuple[np.ndarray, np.ndarray]:
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        found = processor(list(rows), padding="max_length", max_length=length)
        ids = found["input_ids"]
        ones = np.ones_like(ids)
        mask = (ones if padded else found.get("attention_mask", ones)).astype(bool)
        mask &= np.array([bool(text) for text in rows])[:, None]
        order = np.array([rows[text] for text in texts], np.intp)
        return ids[order], mask[order]

    return encode
