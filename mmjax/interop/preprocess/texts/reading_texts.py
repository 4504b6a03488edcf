"""What makes the ids of a loaded model's texts: its tokenizer, under what the model can take."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmjax.interop.architecture import Architecture
from mmjax.interop.preprocess.id_limits import text_backbone
from mmjax.interop.preprocess.texts.processor import text_processor
from mmjax.interop.preprocess.texts.text_arrays import TextProcessor


def text_reader(path: Path, config: Mapping[str, Any], architecture: Architecture) -> TextProcessor:
    """The text processor of a checkpoint, with the lengths and words of its own model.

    Padding that the model does not see goes to the right, whatever the tokenizer says: so the
    places of words do not depend on the other texts.

    Args:
        path, config: of the checkpoint.
        architecture: of the model.

    Raises:
        UserError: see `mmjax.interop.preprocess.texts.processor.text_processor`.
    """
    folder, backbone = path if path.is_dir() else path.parent, text_backbone(architecture)
    longest = vocabulary = None
    if backbone is not None:
        unused = 0 if backbone.padding is None else backbone.padding + 1
        longest = backbone.positions - unused if backbone.positions else None
        vocabulary = backbone.vocabulary_size
    processor = text_processor(
        folder, config, architecture=architecture.name, longest=longest, vocabulary=vocabulary
    )
    if processor.fixed:
        return processor
    settings = processor.settings._replace(side="right")
    return dataclasses.replace(processor, settings=settings)
