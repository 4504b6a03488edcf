"""One tower of a model of one space -> a checkpoint of that tower alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.errors import UserError
from mmjax.factory.checkpoints import joint
from mmjax.interop.architecture import Architecture, Checkpoint
from mmjax.interop.weights.checkpoint import copy_beside, write_weights
from mmjax.train.checkpoints.workdir import write_json

# Of the libraries that have classes for one tower: by family and kind of input the section of
# config.json and the model_type of the tower, and what the names of its tensors lose.
HALVES: Mapping[str, Mapping[str, tuple[str, str, str]]] = {
    "clap": {
        "audio": ("audio_config", "clap_audio_model", "audio_model."),
        "text": ("text_config", "clap_text_model", "text_model."),
    },
    **{
        family: {
            "image": ("vision_config", f"{family}_vision_model", ""),
            "text": ("text_config", f"{family}_text_model", ""),
        }
        for family in ("clip", "siglip", "siglip2")
    },
}


def half_of(
    checkpoint: Checkpoint,
    architecture: Architecture,
    kind: str,
    tensors: Mapping[str, np.ndarray],
    directory: Path,
) -> list[str]:
    """Writes a tower with a config.json of its own; returns a line that says so.

    Args:
        checkpoint, architecture: of the whole.
        kind: of the tower's input.
        tensors: of the tower, by the names in the original's file.
        directory: is made if need be.

    Raises:
        UserError: its library has no model of one tower.
    """
    halves = HALVES.get(architecture.family)
    if halves is None:
        raise UserError(
            f"an encoder of {architecture.family} cannot be given back alone, and the rest of its"
            f" model did not train with it: train it as {joint.WHERE} instead, which is given back"
            " as a whole, or use --to=mmjax"
        )
    part, name, prefix = halves[kind]
    directory.mkdir(parents=True, exist_ok=True)
    copy_beside(checkpoint.path, directory)
    config: dict[str, Any] = {**(checkpoint.config.get(part) or {}), "model_type": name}
    write_json(directory / "config.json", config)
    write_weights({n.removeprefix(prefix): x for n, x in tensors.items()}, directory)
    return [
        f"the {kind} tower alone ({name}): the projections and the other tower of the original did"
        f" not train with it; to train all of them, set {joint.WHERE}"
    ]
