"""From what users have, files, pictures and sentences, to the arrays of a published model."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmjax.data.readers import video_file
from mmjax.data.readers.content import is_content, named
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture
from mmjax.interop.loading import Pretrained
from mmjax.interop.preprocess import processors
from mmjax.interop.preprocess.sounds.audio_inputs import ModelInputs, audio_reader
from mmjax.interop.preprocess.texts.reading_texts import text_reader

# The names that open_clip and big_vision have for them.
OTHER_NAMES = {"input_ids": "text", "pixel_values": "image"}

# (values, the place of the first, for messages) -> places of values, and what the model is given of
# them; values whose inputs are of one shape are together.
Reader = Callable[..., Iterator[tuple[Sequence[int], ModelInputs]]]


def inputs_of(architecture: Architecture, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a model takes of a batch, by its own names, with the channels of pictures where it has
    them."""
    found = {}
    for name, array in batch.items():
        other = OTHER_NAMES.get(name, name)
        key = name if name in architecture.inputs else other
        if key in architecture.inputs:
            last = key == "image" and architecture.example[key].shape[-1] == array.shape[1]
            found[key] = np.moveaxis(array, 1, -1) if last else array
    return found


def reader(model: Pretrained, name: str) -> Callable[..., dict[str, Any]]:
    """What turns values of a modality into the model's inputs, as the checkpoint's files say.

    That of texts also takes `prompt`: see `TextProcessor.prompt_of`.

    Raises:
        UserError: no file says it.
    """
    if name == "text":
        return text_reader(model.path, model.config, model.architecture)
    read = processors.reader(model.checkpoint, model.architecture.name, name)
    if name != "video":
        return read
    frames = model.architecture.example["pixel_values"].shape[1]
    return lambda videos: read([_frames(video, frames) for video in videos])


def _frames(video: Any, count: int) -> Any:
    """The pictures of a file, evenly spread over its time; all else is as it was given.

    Raises:
        UserError: the file cannot be read, or it has fewer pictures than the model takes.
    """
    if not is_content(video):
        return video
    found = video_file.read(video, count)
    if not found.mask.all():
        raise UserError(
            f"{named('video', video)}: has {int(found.mask.sum())} pictures, this model takes"
            f" {count}: pass a longer one, or an array of {count} pictures"
        )
    return found.pixels


def in_batches(model: Pretrained, name: str) -> Reader:
    """What gives a model values of a modality, each as if it were alone, with their places; the
    second argument is the place of the first of them, for messages; further ones are the reader's.

    Raises:
        UserError: as `reader`.
    """
    if name == "audio":
        reads = audio_reader(model)
        return lambda values, first: iter([(range(len(values)), reads(values, first))])
    read = reader(model, name)

    def given(
        values: Sequence[Any], first: int, **options: Any
    ) -> Iterator[tuple[Sequence[int], ModelInputs]]:
        del first
        for places, batch in processors.alike(name, functools.partial(read, **options), values):
            yield (
                places,
                ModelInputs(batch, batch.get("attention_mask", batch.get("pixel_attention_mask"))),
            )

    return given
