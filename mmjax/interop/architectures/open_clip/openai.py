"""The sizes of a CLIP model that comes without a config: OpenAI's .pt files.

They are read off the tensors, as OpenAI's own `build_model` does
(https://github.com/openai/CLIP, clip/model.py).
"""

import math
from collections.abc import Mapping
from typing import Any

from mmjax.errors import UserError
from mmjax.interop.formats.tensors import Weights

# What OpenAI's TorchScript files hold beside the parameters; no other library writes them.
MARKS = ("input_resolution", "context_length", "vocab_size")
HEAD = 64  # width of every attention head
CELL = 32  # pixels of a cell of the last map of a ResNet


def is_openai(weights: Weights) -> bool:
    """Whether these are OpenAI's own files, whose activation is quick_gelu."""
    return all(name in weights for name in MARKS)


def model_cfg(weights: Mapping[str, Any], where: str, *, quick_gelu: bool) -> dict[str, Any]:
    """The `model_cfg` of open_clip for tensors by their normalised names.

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

    def blocks(start: str) -> int:
        found = {name[len(start) :].split(".")[0] for name in weights if name.startswith(start)}
        return len(found)

    def square(name: str) -> int:
        cells = shape(name, 2)[0] - 1
        side = math.isqrt(max(cells, 0))
        if side < 1 or side * side != cells:
            raise UserError(
                f"{where}: {name!r} has {cells} cells, which is no square: put the"
                " open_clip_config.json of the model beside it"
            )
        return side

    if "visual.layer1.0.conv1.weight" in weights:
        embed_dim = shape("visual.attnpool.c_proj.weight", 2)[0]
        vision = {
            "image_size": CELL * square("visual.attnpool.positional_embedding"),
            "layers": [blocks(f"visual.layer{stage}.") for stage in range(1, 5)],
            "width": shape("visual.layer1.0.conv1.weight", 4)[0],
        }
    else:
        embed_dim = shape("visual.proj", 2)[1]
        width, _, _, patch = shape("visual.conv1.weight", 4)
        vision = {
            "image_size": patch * square("visual.positional_embedding"),
            "layers": blocks("visual.transformer.resblocks."),
            "width": width,
            "patch_size": patch,
        }
    length, text_width = shape("positional_embedding", 2)
    return {
        "embed_dim": embed_dim,
        "quick_gelu": quick_gelu,
        "vision_cfg": vision | {"head_width": HEAD},
        "text_cfg": {
            "context_length": length,
            "vocab_size": shape("token_embedding.weight", 2)[0],
            "width": text_width,
            "heads": text_width // HEAD,
            "layers": blocks("transformer.resblocks."),
        },
    }
