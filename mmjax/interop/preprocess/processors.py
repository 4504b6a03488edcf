"""What turns values of a modality into a model's inputs, as the files of its checkpoint say it.

Prediction and training ask here, so that both go by the same file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.errors import UserError
from mmjax.interop.architecture import Checkpoint
from mmjax.interop.preprocess.images import image_classes
from mmjax.interop.preprocess.images.processor import image_processor
from mmjax.interop.preprocess.images.recipes import NESTED, TIMM, recipe
from mmjax.interop.weights.checkpoint import read_config_file

Processor = Callable[[Sequence[Any]], dict[str, Any]]
OPEN_CLIP = "open_clip_config.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
VIDEOS = "video_preprocessor_config.json"
# Sides to which torchvision resizes before the crop of 224 pixels: weights of its first and second
# training have the same tensors, so only the names of its files, which end with a part of their
# hash, tell which they are.
_FIRST, _SECOND = ({"resize_size": side, "crop_size": 224} for side in (256, 232))
TORCHVISION: Mapping[str, Mapping[str, int]] = {
    **dict.fromkeys(
        (
            *("resnet18-f37072fd", "resnet34-b627a593", "resnet50-0676ba61", "resnet101-63fe2227"),
            *("resnet152-394f9c45", "wide_resnet50_2-95faca4d", "wide_resnet101_2-32ee1156"),
            "mobilenet_v2-b0353104",
        ),
        _FIRST,
    ),
    **dict.fromkeys(
        (
            *("resnet50-11ad3fa6", "resnet101-cd907fc2", "resnet152-f82ba261"),
            *("wide_resnet50_2-9ba9bcbe", "wide_resnet101_2-d733dc28", "mobilenet_v2-7ebf99e0"),
        ),
        _SECOND,
    ),
}


def reader(checkpoint: Checkpoint, architecture: str, kind: str) -> Processor:
    """What turns a list of values of one modality into the inputs of a model; of sounds,
    `mmjax.interop.preprocess.sounds.audio_inputs.audio_reader` does, of texts
    `mmjax.interop.preprocess.texts.reading_texts.text_reader`.

    Args:
        checkpoint: the model on the disk.
        architecture: its name in `mmjax.interop.architectures.ARCHITECTURES`.
        kind: "image" or "video".

    Raises:
        UserError: no file says it, or one says what is not understood.
    """
    found = of_images(checkpoint, architecture, kind)
    if not found:
        raise UserError(
            f"{folder_of(checkpoint)} has no preprocessor_config.json, so nothing says how a file"
            f" becomes an input of this model: {_advice(kind, architecture)}, or pass arrays to the"
            " `model` of this"
        )
    return image_processor(found)


def alike(
    kind: str, read: Processor, values: Sequence[Any]
) -> Iterator[tuple[Sequence[int], dict[str, np.ndarray]]]:
    """The inputs of the values, in groups of one shape each, with the places of those in it.

    Pictures may come out in any size, and each is what it would be alone; words are padded to each
    other.
    """
    if kind not in ("image", "video"):
        yield range(len(values)), read(values)
        return
    rows = [read([value]) for value in values]
    groups: dict[tuple, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(tuple((key, x.shape) for key, x in row.items()), []).append(place)
    for places in groups.values():
        names = rows[places[0]]
        yield places, {key: np.concatenate([rows[place][key] for place in places]) for key in names}


def of_images(
    checkpoint: Checkpoint, architecture: str = "", kind: str = "image"
) -> Mapping[str, Any]:
    """What `mmjax.interop.preprocess.images.recipes.recipe` takes, from the first file that says
    it.

    These are the preprocessor files of transformers, open_clip_config.json (first for its own
    models), config.json with timm's pretrained_cfg, and the name of a file of torchvision.

    Args:
        checkpoint: the model on the disk.
        architecture: its name; "": of any.
        kind: "image" or "video".

    Returns:
        {} if nothing says it.

    Raises:
        UserError: a file that is no JSON table, or one that names no class, of a model whose type
            does not tell it either.
    """
    for name, config in _files(folder_of(checkpoint), architecture, kind):
        order = reversed(NESTED) if kind == "video" else NESTED
        found = next((config[n] for n in order if isinstance(config.get(n), Mapping)), config)
        if name == OPEN_CLIP:
            if isinstance(config.get("preprocess_cfg"), Mapping):
                return config
        elif image_classes.class_of(found) == TIMM and "pretrained_cfg" not in found:
            continue  # it points to config.json
        elif image_classes.class_of(found) or "resize_size" in found or "pretrained_cfg" in found:
            return found
        elif any(key in found for key in image_classes.MARKS):
            return _classed(found, checkpoint, name)
    if isinstance(checkpoint.config.get("pretrained_cfg"), Mapping):
        _check_size(checkpoint)
        return checkpoint.config
    return {} if checkpoint.path.is_dir() else TORCHVISION.get(checkpoint.path.stem, {})


def of_sounds(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """What the first preprocessor file holds; {} if there is none.

    Raises:
        UserError: it is no JSON table.
    """
    for file in (folder_of(checkpoint) / name for name in PROCESSORS):
        if file.is_file() and (config := read_config_file(file)):
            return config
    return {}


def statistics(
    checkpoint: Checkpoint, architecture: str, kind: str
) -> dict[str, tuple[float, ...]]:
    """The "mean" and "std" that pictures are normalised by, with pixels in 0..1, a number for each
    channel; {} if no file says them. For the arguments and errors see `of_images`."""
    config = of_images(checkpoint, architecture, kind)
    if not config:
        return {}
    steps = recipe(config)
    scale = 255 * (1.0 if steps.scale is None else steps.scale)
    mean = (0.0,) * 3 if steps.mean is None else steps.mean
    std = (1.0,) * 3 if steps.std is None else steps.std
    return {
        "mean": tuple(float(m - steps.offset) / scale for m in mean),
        "std": tuple(float(s) / scale for s in std),
    }


def folder_of(checkpoint: Checkpoint) -> Path:
    """Where the small files of a checkpoint are."""
    return checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent


def _files(folder: Path, architecture: str, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    names = (*PROCESSORS, VIDEOS, OPEN_CLIP)
    if kind == "video":
        names = (VIDEOS, *PROCESSORS)
    elif architecture == "open_clip":
        names = (OPEN_CLIP, *PROCESSORS)
    for name in names:
        if (folder / name).is_file():
            yield name, read_config_file(folder / name)


def _check_size(checkpoint: Checkpoint) -> None:
    """Raises UserError where timm's model is of another size than its pretrained_cfg says."""
    made = (checkpoint.config.get("model_args") or {}).get("img_size")
    said = checkpoint.config["pretrained_cfg"].get("input_size")
    sides = list(made) if isinstance(made, list) else [made, made]
    if made and isinstance(said, list) and sides != said[1:]:
        raise UserError(
            f"{folder_of(checkpoint)}: config.json has img_size={made!r} in model_args, but"
            f" input_size={said!r} in pretrained_cfg: set it to the size that pictures should have"
        )


def _classed(found: Mapping[str, Any], checkpoint: Checkpoint, file: str) -> Mapping[str, Any]:
    """The class of a file that names none is that of the model's type."""
    kind = checkpoint.config.get("model_type")
    if kind not in image_classes.OF_TYPES:
        raise UserError(
            f"{folder_of(checkpoint) / file} names no class, and {kind!r}, the model_type in"
            " config.json, tells none: add its image_processor_type, such as 'ViTImageProcessor'"
        )
    return {**found, "image_processor_type": image_classes.OF_TYPES[kind]}


def _advice(kind: str, architecture: str) -> str:
    if kind == "image" and architecture in ("mobilenet", "resnet"):
        return (
            'add one, of torchvision\'s weights {"resize_size": 256, "crop_size": 224}, of its'
            " IMAGENET1K_V2 with 232, or of timm's its config.json"
        )
    return "add it"
