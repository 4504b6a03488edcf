"""One backbone of a model of one space -> a checkpoint of that backbone alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.errors import UserError
from mmjax.factory.checkpoints import joint
from mmjax.interop.architecture import Architecture, Checkpoint
from mmjax.interop.weights.checkpoint import copy_beside, write_weights
from mmjax.train.checkpoints.workdir import write_json

# Of the libraries that have classes for one backbone: by name and kind of input the section of
# config.json and the model_type of the backbone, and what the names of its tensors lose.
DUAL_PARTS: Mapping[str, Mapping[str, tuple[str, str, str]]] = {
    "clap": {
        "audio": ("audio_config", "clap_audio_model", "audio_model."),
        "text": ("text_config", "clap_text_model", "text_model."),
    },
    **{
        name: {
            "image": ("vision_config", f"{name}_vision_model", ""),
            "text": ("text_config", f"{name}_text_model", ""),
        }
        for name in ("clip", "siglip", "siglip2")
    },
}


def part_of_dual(
    checkpoint: Checkpoint,
    architecture: Architecture,
    kind: str,
    tensors: Mapping[str, np.ndarray],
    directory: Path,
) -> list[str]:
    """Writes a backbone with a config.json of its own; returns a line that says so.

    Args:
        checkpoint, architecture: of the whole.
        kind: of the backbone's input.
        tensors: of the backbone, by the names in the original's file.
        directory: is made if need be.

    Raises:
        UserError: its library has no model of one backbone.
    """
    halves = DUAL_PARTS.get(architecture.name)
    if halves is None:
        raise UserError(
            f"an encoder of {architecture.name} cannot be given back alone, and the rest of its"
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
        f"the {kind} backbone alone ({name}): the projections and the other backbone of the"
        f" original did not train with it; to train all of them, set {joint.WHERE}"
    ]
