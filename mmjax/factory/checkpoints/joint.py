"""config.model -> a whole published model of one space in training, with all that is its own.

CLIP, SigLIP, CLAP and their like, by `mmjax.pretrained(path)`: its backbones, projections,
temperature and bias, and how its files say that images, texts and sounds become inputs. What the
modalities without an entry in `config.encoders` are is what it encodes; others may be aligned with
them. Parameters lie where those of `mmjax.models.aligned.AlignedModel` do.
"""

import functools
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.checkpoints import own, pretrained
from mmjax.factory.tables.names import lookup, sample_rate
from mmjax.interop.architecture import Architecture, Checkpoint
from mmjax.interop.encoding.encoder import PretrainedEncoder
from mmjax.interop.encoding.sizing import sized
from mmjax.interop.joint import Joint, joint_of, moves, to_run, width_of
from mmjax.interop.preprocess.processors import of_images
from mmjax.interop.preprocess.texts.reading_texts import text_reader
from mmjax.interop.weights.recognition import architecture_of
from mmjax.interop.weights.report import Report
from mmjax.interop.weights.variables import read_variables

MODEL, WHERE = pretrained.MODEL, f"config.{pretrained.MODEL}"
PROJECTIONS, TEMPERATURE = "projections", "temperature"  # parts that `freeze` may name
# Losses that compare by a temperature: they read the model's own unless the config says otherwise.
LEARNED = ("decoupled", "hard_negative", "info_nce", "sigmoid", "supervised")

log = logging.getLogger("mmjax")


class Whole(NamedTuple):
    """What a model of one space gives to an AlignedModel.

    encoders, projections: by modality.
    options: further ones.
    width: E of its embeddings.
    """

    encoders: Mapping[str, Any]
    projections: Mapping[str, Any]
    options: Mapping[str, Any]
    width: int


def kinds(config: ConfigDict) -> dict[str, str]:
    """From the modalities that config.model encodes to their kinds of input; {} without one.

    Raises:
        UserError: it has none to encode, or one is called as the model is.
    """
    spec = config.get(MODEL)
    if spec is None:
        return {}
    encoders, said = config.get("encoders", {}), spec.get("kinds", {})
    found = {name: said.get(name, name) for name in config.modalities if name not in encoders}
    for name in said:
        lookup(found, name, f"{WHERE}.kinds")
    if not found:
        raise UserError(
            f"{WHERE} has nothing to encode: take the modalities that it encodes out of"
            " config.encoders, as in 'config.encoders = ConfigDict()'"
        )
    if MODEL in config.modalities:
        raise UserError(f"config.modalities: with {WHERE} no modality can be called {MODEL!r}")
    return found


def checked(config: ConfigDict, checkpoint: Checkpoint, dtype: Any) -> tuple[Architecture, Joint]:
    """How the model is built, and what is behind its backbones.

    Raises:
        UserError: it is no model of one space, or the modalities are not what it encodes.
    """
    names, architecture = kinds(config), architecture_of(checkpoint, dtype)
    joint = joint_of(architecture)
    if joint is None:
        raise UserError(
            f"{WHERE}: {checkpoint.path}, of the architecture {architecture.name}, has no space"
            " that two kinds of input share: use it as an encoder, config.encoders.NAME"
        )
    known = joint.projections
    for name, kind in names.items():
        lookup(known, kind, f"config.modalities: {name!r} has no entry in config.encoders; {WHERE}")
    if sorted(names.values()) != sorted(known):
        raise UserError(
            f"{WHERE} encodes {' and '.join(known)}, each as one modality without an entry in"
            f" config.encoders; config.modalities={tuple(config.modalities)} has"
            f" {' and '.join(f'{n} ({k})' for n, k in names.items())}"
        )
    doubled = [kind for kind in known if kind in config.get("encoders", {})]
    if doubled:
        raise UserError(
            f"config.encoders.{doubled[0]}: {WHERE} encodes that already: leave one of them out, or"
            " give the other modality another name"
        )
    return architecture, joint


def whole(config: ConfigDict, checkpoint: Checkpoint, dtype: Any) -> Whole:
    """The parts of config.model for an AlignedModel.

    Raises:
        UserError: see `checked`; files that do not say how inputs are made; or pictures of another
            size than the model's.
    """
    architecture, joint = checked(config, checkpoint, dtype)
    names, spec = kinds(config), config[MODEL]
    encoders, projections = {}, {}
    for name, kind in names.items():
        part = architecture.parts[kind]
        if kind == "image":
            check_pictures(config, checkpoint, architecture, name)
        rate = sample_rate(config, name)
        prepare = pretrained.prepared(checkpoint, architecture, part, spec, kind, rate)
        if kind == "text":
            padding = text_reader(checkpoint.path, checkpoint.config, architecture).codec.pad or 0
            prepare = functools.partial(prepare, **{"padding": padding} | part.options)
        encoders[name] = PretrainedEncoder(part.module, prepare, None, "pooled", dtype)
        projections[name] = joint.projections[kind].module
    frozen(config)  # its words are checked
    if PROJECTIONS in _parts(spec) and not any(p.path for p in joint.projections.values()):
        raise UserError(f"{WHERE}.freeze: this model has no {PROJECTIONS}: leave them out")
    options = {
        "bias": -10.0 if joint.bias else None,
        "lowest": 0.0,  # as in its own library
        "asking": tuple(name for name, kind in names.items() if kind in joint.asking),
    }
    return Whole(encoders, projections, options, width_of(architecture))


def check_pictures(
    config: ConfigDict, checkpoint: Checkpoint, architecture: Architecture, name: str
) -> None:
    """Raises UserError if no file says how pictures are made, or theirs is not the model's size.

    A model that takes any size (NaFlex) has no grid.
    """
    if not of_images(checkpoint, architecture.name):
        raise UserError(
            f"{checkpoint.path}: no file there says how a picture becomes an input: add its"
            " preprocessor_config.json"
        )
    backbone = architecture.parts["image"].module
    if not hasattr(backbone, "grid"):
        return
    shapes = config.data.get("shapes", {})
    given = tuple(shapes[name])[:2] if name in shapes else (config.data.image_size,) * 2
    sides = tuple(n * side for n, side in zip(backbone.grid, backbone.patch_size, strict=True))
    if given != sides:
        key = f"config.data.shapes.{name}" if name in shapes else "config.data.image_size"
        raise UserError(
            f"{key}: pictures of {given[0]}x{given[1]} pixels, but {WHERE} sees"
            f" {sides[0]}x{sides[1]}: set it to that"
        )


def encode_texts(
    config: ConfigDict, kept: pretrained.Checkpoints, name: str, length: int
) -> Callable | None:
    """What makes `length` ids of each text of a modality, by a checkpoint's own tokenizer.

    None if no checkpoint encodes it.

    Raises:
        UserError: no tokenizer, or a length at which the model's texts are not what they should be.
    """
    if name in kept:
        return pretrained.encode_texts(kept[name], length)
    if name not in kinds(config):
        return None
    checkpoint = kept[MODEL]
    architecture = architecture_of(checkpoint, np.float32)
    backbone = architecture.parts["text"].module
    settings = text_reader(checkpoint.path, checkpoint.config, architecture).settings
    most = backbone.positions - (0 if backbone.padding is None else backbone.padding + 1)
    padded = "attention_mask" not in architecture.inputs
    # Where words do not see those behind them, what is read at the end of a text is the same
    # without the padding; elsewhere it is as long as in the training of the model.
    if (settings.full or padded) and not backbone.causal:
        wanted = min(settings.length or most, most)
        if length != wanted:
            raise UserError(
                f"config.data.text_length={length}: {WHERE} reads texts padded to {wanted} words:"
                " set it to that"
            )
    return pretrained.encode_texts(checkpoint, length, padded=padded)


def first_variables(config: ConfigDict) -> tuple[dict[str, Any], Report]:
    """The variables of config.model where those of the model that trains are, and what was read."""
    alone = ConfigDict({"modalities": (), MODEL: config[MODEL]})
    checkpoint = pretrained.checkpoints(alone)[MODEL]
    architecture, joint = checked(config, checkpoint, np.float32)
    variables, report = read_variables(checkpoint, architecture)
    return to_run(variables, moves(architecture, joint, kinds(config))), report


def _parts(spec: ConfigDict) -> tuple[str, ...]:
    freeze = spec.get("freeze", False)
    return () if isinstance(freeze, bool) else tuple(freeze)


def frozen(config: ConfigDict) -> tuple[str, ...]:
    """Regular expressions on the paths of the parameters of config.model that stay as they are.

    Raises:
        UserError: `freeze` is no truth value and no tuple of its parts.
    """
    names = kinds(config)
    if not names:
        return ()
    freeze = config[MODEL].get("freeze", False)
    if not isinstance(freeze, (bool, tuple, list)):
        raise UserError(f"{WHERE}.freeze={freeze!r}: give True, False or a tuple of its parts")
    behind = "|".join(map(re.escape, names))
    patterns = {name: f"^encoders_{re.escape(name)}/" for name in names}
    patterns |= {PROJECTIONS: f"^projections_(?:{behind})/", TEMPERATURE: "^logit_"}
    for part in _parts(config[MODEL]):
        lookup(patterns, part, f"{WHERE}.freeze")
    return tuple(patterns[p] for p in (patterns if freeze is True else _parts(config[MODEL])))


def prefixes(config: ConfigDict) -> tuple[str, ...]:
    """What the paths of all parameters begin with that config.model gives."""
    names = kinds(config)
    backbones = [f"encoders_{name}/backbone/" for name in names]
    behind = [f"projections_{name}/" for name in names]
    return (*backbones, *behind, *(("logit_",) if names else ()))


def losses(config: ConfigDict, entries: Mapping[str, ConfigDict]) -> dict[str, ConfigDict]:
    """Entries of config.losses in which what compares reads the model's temperature and bias.

    Of a model whose texts have a temperature of their own, that of the modality that asks.
    """
    found = {}
    for label, spec in entries.items():
        name, entry = spec.get("name", label), ConfigDict(dict(spec))
        if kinds(config) and name in LEARNED and "temperature" not in spec:
            entry.temperature = "temperature"
            if name == "info_nce" and "audio" in kinds(config).values():
                entry.temperature, entry.temperature_b = "temperature/{a}", "temperature/{b}"
        if kinds(config) and name == "sigmoid" and "bias" not in spec:
            entry.bias = "bias"
        found[label] = entry
    return found


def logits_of(config: ConfigDict, params: Mapping[str, Any]) -> tuple[float, float | None] | None:
    """The factor of cosines and their bias, or None, as trained; None without config.model."""
    if not kinds(config):
        return None
    bias = params.get("logit_bias")
    return float(np.exp(params["logit_scale"])), None if bias is None else float(bias)


def warn_of_separate_parts(config: ConfigDict, kept: pretrained.Checkpoints) -> None:
    """Says that two encoders of one model are aligned anew, though it has a space for both."""
    places: dict[Path, list[str]] = {}
    for name in pretrained.chosen(config):
        where = Path(config.encoders[name].path).expanduser().absolute()
        places.setdefault(where, []).append(name)
    for path, names in places.items():
        if len(names) < 2 or own.is_own(kept[names[0]]):
            continue
        if joint_of(architecture_of(kept[names[0]], np.float32)) is not None:
            log.warning(
                "%s: %s are encoded by it, but its projections and temperature are not used and"
                " drawn anew; for its own space set config.model = mmjax.pretrained(%r) instead",
                path,
                " and ".join(names),
                str(path),
            )


def pictures(
    config: ConfigDict, kept: pretrained.Checkpoints | None, name: str
) -> Callable[[Sequence[Any]], list[np.ndarray]] | None:
    """Pictures as users have them -> uint8 [H W 3] of the model's size, as its files say.

    None for a modality that config.model does not encode, or one that takes any size.
    """
    if kinds(config).get(name) != "image" or kept is None:
        return None
    architecture = architecture_of(kept[MODEL], np.float32)
    if not hasattr(architecture.parts["image"].module, "grid"):
        return None
    return sized(of_images(kept[MODEL], architecture.name))
