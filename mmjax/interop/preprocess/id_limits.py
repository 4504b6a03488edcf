"""The whole numbers among a published model's inputs, and how large each may be."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmjax.backbones.text.decoder import TextDecoder
from mmjax.backbones.text.transformer import TextBackbone
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture
from mmjax.nn.layers.ids import check_ids

BESIDE = ("attention_mask", "token_type_ids")  # a number for each word
GRIDS = "spatial_shapes"


def text_backbone(architecture: Architecture) -> TextBackbone | None:
    """What reads the ids of words; None if the model does not read."""
    part = architecture.parts.get("text")
    return part.module if part is not None and isinstance(part.module, TextBackbone) else None


def limits(architecture: Architecture) -> Mapping[str, int]:
    """By the name of an input: how many rows the table has that its numbers choose from."""
    found = {}
    backbone = text_backbone(architecture)
    if backbone is not None:
        found |= {"input_ids": backbone.vocabulary_size, "text": backbone.vocabulary_size}
        found |= {"position_ids": backbone.positions, "token_type_ids": backbone.token_types}
    decoder = getattr(architecture.module, "decoder", None)
    if isinstance(decoder, TextDecoder):
        found["decoder_input_ids"] = decoder.vocabulary_size
        found["decoder_position_ids"] = decoder.positions
    return {name: count for name, count in found.items() if count and name in architecture.inputs}


def check(architecture: Architecture, arrays: Mapping[str, Any]) -> None:
    """Raises UserError for numbers that are in no table of the model.

    Args:
        architecture: of the model.
        arrays: its inputs by name; those that are not numbers of rows are not looked at.
    """
    for name, count in limits(architecture).items():
        if name in arrays:
            if np.asarray(arrays[name]).dtype.kind not in "iu":
                raise UserError(f"{name}: whole numbers are expected, not {arrays[name].dtype}")
            check_ids(name, arrays[name], count)
    words = arrays.get("input_ids")
    for name in BESIDE:
        if words is not None and name in arrays and np.shape(arrays[name]) != np.shape(words):
            raise UserError(
                f"{name}: {list(np.shape(arrays[name]))}, but input_ids are"
                f" {list(np.shape(words))}: give a number for each"
            )
    if GRIDS in arrays and "pixel_values" in arrays:
        shapes, most = np.asarray(arrays[GRIDS]), np.shape(arrays["pixel_values"])[1]
        wrong = (shapes < 1).any(axis=1) | (shapes.astype(float).prod(axis=1) > most)
        if wrong.any():
            row = int(wrong.argmax())
            raise UserError(
                f"{GRIDS}: {shapes[row].tolist()} rows and columns of image {row} are not 1 to"
                f" {most} patches: give those of its preprocessor"
            )
