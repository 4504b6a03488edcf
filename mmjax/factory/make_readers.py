"""Config -> what turns the values that users have into the inputs of a model."""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict

from mmjax.data.pipeline.scaling import Scale
from mmjax.data.readers import by_kind, lengths
from mmjax.factory.checkpoints import joint
from mmjax.factory.checkpoints.pretrained import Checkpoints
from mmjax.factory.make_model import example_inputs, kind_of
from mmjax.factory.tables.names import sample_rate
from mmjax.types import Input

FILES = ("audio", "image")  # kinds of inputs that may be files


def input_axes(config: ConfigDict, encode: Callable | None) -> dict[str, int]:
    """How many axes one input of each modality has as an array; none for a text that is a string.

    For the arguments see make_readers.
    """
    strings = "text" if encode is not None else None
    return {
        name: 0 if kind_of(config, name) == strings else example.value.ndim - 1
        for name, example in example_inputs(config).items()
    }


def file_inputs(config: ConfigDict) -> tuple[str, ...]:
    """The modalities of a config whose strings are paths."""
    return tuple(name for name in config.modalities if kind_of(config, name) in FILES)


def make_readers(
    config: ConfigDict,
    encode: Callable | None,
    scales: Mapping[str, Scale] = MappingProxyType({}),
    checkpoints: Checkpoints | None = None,
) -> dict[str, Callable[[Sequence[Any]], Input]]:
    """For each modality of a config what turns the users' values into inputs.

    Args:
        config: of the model.
        encode: texts -> (ids, mask); None without text.
        scales: of the features of training, by modality; values of others stay as they are.
        checkpoints: of the config; what config.model encodes is read as its files say.
    """

    def arrays(name: str, example: Input) -> Callable[[Sequence[Any]], Input]:
        return functools.partial(
            by_kind.read_arrays,
            name=name,
            shape=example.value.shape[1:],
            dtype=example.value.dtype,
            masked_axes=example.mask.ndim - 1,
            scale=scales.get(name),
        )

    made = {}
    for name, example in example_inputs(config).items():
        kind = kind_of(config, name)
        sees = joint.pictures(config, checkpoints, name) if kind == "image" else None
        if sees is not None:
            made[name] = functools.partial(
                by_kind.read_sized, shape=example.value.shape[1:], see=sees
            )
        elif kind == "image":
            made[name] = functools.partial(by_kind.read_images, size=config.data.image_size)
        elif kind == "text" and encode is not None:
            made[name] = functools.partial(by_kind.read_texts, encode=encode)
        elif kind == "audio":
            made[name] = functools.partial(
                lengths.read_sounds,
                name=name,
                samples=example.value.shape[1],
                rate=sample_rate(config, name),
            )
        elif kind in ("series", "video"):
            shape, dtype = example.value.shape[1:], example.value.dtype
            made[name] = functools.partial(
                lengths.read_steps, name=name, shape=shape, dtype=dtype, scale=scales.get(name)
            )
        else:
            made[name] = arrays(name, example)
    return made
