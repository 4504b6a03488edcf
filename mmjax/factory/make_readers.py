"""Config -> what turns the values that users have into the inputs of a model."""

import functools
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from ml_collections import ConfigDict
from tokenizers import Tokenizer

from mmjax.data.pipeline import tokenizer
from mmjax.data.pipeline.scaling import Scale
from mmjax.factory.checkpoints import joint
from mmjax.factory.checkpoints.pretrained import Checkpoints
from mmjax.factory.make_model import example_inputs, kind_of, texts
from mmjax.factory.tables.kinds import KINDS, Reader, Wanted
from mmjax.factory.tables.names import sample_rate


def input_axes(config: ConfigDict, encode: Mapping[str, Callable]) -> dict[str, int]:
    """How many axes one input of each modality has as an array; none for a text that is a string.

    For the arguments see make_readers.
    """
    return {
        name: 0 if name in encode else example.value.ndim - 1
        for name, example in example_inputs(config).items()
    }


def file_inputs(config: ConfigDict) -> tuple[str, ...]:
    """The modalities of a config whose strings are paths."""
    return tuple(name for name in config.modalities if KINDS[kind_of(config, name)].files)


def make_readers(
    config: ConfigDict,
    encode: Mapping[str, Callable],
    scales: Mapping[str, Scale] = MappingProxyType({}),
    checkpoints: Checkpoints | None = None,
) -> dict[str, Reader]:
    """For each modality of a config what turns the users' values into inputs.

    Args:
        config: of the model.
        encode: texts -> (ids, mask), of each modality that is text.
        scales: of the features of training, by modality; values of others stay as they are.
        checkpoints: of the config; what config.model encodes is read as its files say.
    """
    return {
        name: KINDS[kind_of(config, name)].reader(
            Wanted(
                name,
                example,
                scales.get(name),
                encode.get(name),
                joint.pictures(config, checkpoints, name),
                sample_rate(config, name),
                config.data.cut,
            )
        )
        for name, example in example_inputs(config).items()
    }


def text_encoders(
    config: ConfigDict,
    checkpoints: Checkpoints,
    words: Callable[[], Tokenizer | None],
    names: Collection[str] | None = None,
) -> tuple[dict[str, Callable], int]:
    """Of each modality that is text what makes its ids, and the size of our own vocabulary.

    Args:
        config: of the model.
        checkpoints: of the config; what they encode has a tokenizer of its own.
        words: gives the tokenizer of all others; None: these are given as ids.
        names: of the modalities that are strings; None: all texts.

    Returns:
        texts -> (ids, mask), by modality; and 0 where our own tokenizer is not used.
    """
    made, size, own = {}, 0, None
    for name, length in texts(config).items():
        if names is not None and name not in names:
            continue
        encode = joint.encode_texts(config, checkpoints, name, length)
        if encode is None:
            own = own or words()
            if own is None:
                continue
            size = own.get_vocab_size()
            encode = functools.partial(tokenizer.encode, own, length=length)
        made[name] = encode
    return made, size
