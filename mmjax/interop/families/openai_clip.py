"""The sizes of a CLIP model that comes without a config: OpenAI's .pt files.

They are read off the tensors, as OpenAI's own `build_model` does
(https://github.com/openai/CLIP, clip/model.py).
"""

import math
from collections.abc import Mapping
from typing import Any

from mmjax.interop.formats.tensors import Weights
from mmjax.types import UserError

# What OpenAI's TorchScript files hold beside the parameters; no other library writes them.
MARKS = ("input_resolution", "context_length", "vocab_size")
HEAD = 64  # width of every attention head


def is_openai(weights: Weights) -> bool:
    """Whether these are OpenAI's own files, whose activation is quick_gelu."""
    return all(name in weights for name in MARKS)


def model_cfg(weights: Mapping[str, Any], where: str, *, quick_gelu: bool) -> dict[str, Any]:
    """The `model_cfg` of open_clip for tensors by their canonical names.

    Raises:
        UserError: a tensor that tells a size is missing, or its positions are no square.
    """

    def shape(name: str, axes: int) -> tuple[int, ...]:
        if name not in weights or len(weights[name].shape) != axes:
            raise UserError(
                f"{where}: has no {name!r} with {axes} axes, so its sizes cannot be read off:"
                " put the open_clip_config.json of the model beside it"
            )
        return weights[name].shape

    def blocks(prefix: str) -> int:
        start = f"{prefix}transformer.resblocks."
        found = {name[len(start) :].split(".")[0] for name in weights if name.startswith(start)}
        return len(found)

    width, _, _, patch = shape("visual.conv1.weight", 4)
    cells = shape("visual.positional_embedding", 2)[0] - 1
    side = math.isqrt(cells)
    if side * side != cells:
        raise UserError(
            f"{where}: 'visual.positional_embedding' has {cells} cells, which is no square: put"
            " the open_clip_config.json of the model beside it"
        )
    length, text_width = shape("positional_embedding", 2)
    return {
        "embed_dim": shape("visual.proj", 2)[1],
        "quick_gelu": quick_gelu,
        "vision_cfg": {
            "image_size": patch * side,
            "layers": blocks("visual."),
            "width": width,
            "patch_size": patch,
            "head_width": HEAD,
        },
        "text_cfg": {
            "context_length": length,
            "vocab_size": shape("token_embedding.weight", 2)[0],
            "width": text_width,
            "heads": text_width // HEAD,
            "layers": blocks(""),
        },
    }
