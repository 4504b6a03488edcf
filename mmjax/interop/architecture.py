"""What a architecture of published models gives: the module, the layout of its files, its uses."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from mmjax.backbones.dual.dual import DualEncoder
from mmjax.interop.formats.tensors import Weights
from mmjax.interop.weights.layout import Rules
from mmjax.interop.weights.wrapping import Reading


class Checkpoint(NamedTuple):
    """A model on the disk, not read yet.

    path: the directory or file.
    config: its config.json (or what stands for it); {} if there is none.
    weights: the tensors in its files, by the names there.
    """

    path: Path
    config: Mapping[str, Any]
    weights: Weights


class Part(NamedTuple):
    """How one kind of input is encoded: what a recipe plugs in.

    module: (the inputs of the library) -> dict with "last_hidden_state".
    path: of its parameters in the tree of the whole model; "" for the whole.
    prepare: (raw value, mask, **options) -> the inputs of the module, and which examples [B] or
        tokens [B N] are real. None: that of the kind in `mmjax.interop.encoding.encoder.PREPARE`.
    options: of `prepare`. "sample_rate" is what an audio model takes, in Hz; without it,
        `mmjax.interop.encoding.front_ends.RATE`.
    read: (the contents of the checkpoint's preprocessor_config.json, or {} if it has none, and
        where it is) -> further options; raises UserError. None: there are none.
    """

    module: nn.Module
    path: str = ""
    prepare: Callable | None = None
    options: Mapping[str, Any] = {}
    read: Callable[[Mapping[str, Any], str], Mapping[str, Any]] | None = None


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A published model as mmjax runs it.

    Attributes:
        name: its name in `mmjax.interop.architectures.ARCHITECTURES`.
        module: takes the inputs of the original library by its names and in its layouts (images
            [B 3 H W]), any of them optional that are so there, and `output_hidden_states`; returns
            a dict of its outputs by its names.
        rules: where the parameters lie in its files; the names are the normalised ones.
        example: shapes of inputs to initialise the module with, by name.
        normalise: a name of its library -> the normalised one, or "" for what is not a parameter (a
            buffer of position numbers).
        parts: by kind of raw input ("image", "text", "audio", "video").
        inputs: the names of all inputs.
        reading: which names in the files are those of its library. None: all, as they are.
    """

    name: str
    module: nn.Module
    rules: Rules
    example: Mapping[str, jax.ShapeDtypeStruct]
    normalise: Callable[[str], str] = lambda name: name
    parts: Mapping[str, Part] = dataclasses.field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    reading: Reading | None = None

    def __post_init__(self):
        if not self.inputs:
            object.__setattr__(self, "inputs", input_names(self.module))

    def library_name(self, name: str) -> str:
        """What its library calls a tensor of the files; "" for what a training program keeps
        beside the model."""
        return name if self.reading is None else self.reading.names.get(name, "")

    def place(self, name: str) -> str:
        """The normalised name of a tensor of the files; "" for what is no parameter."""
        library = self.library_name(name)
        return library and self.normalise(library)


FLAGS = ("output_hidden_states", "deterministic")


def input_names(module: nn.Module) -> tuple[str, ...]:
    """The names of what a module takes, but for its flags."""
    if isinstance(module, DualEncoder):
        return tuple(given.name for given in module.inputs)
    parameters = inspect.signature(module.__call__).parameters
    return tuple(name for name in parameters if name not in FLAGS)


class Spec(NamedTuple):
    """recognises: whether a checkpoint is of this architecture; build: its architecture.

    `build` takes the type of the computation, and raises UserError for a config that it cannot run.
    """

    name: str
    recognises: Callable[[Checkpoint], bool]
    build: Callable[[Checkpoint, Any], Architecture]


def has_type(*types: str) -> Callable[[Checkpoint], bool]:
    """Recognises a checkpoint by `model_type` in its config.json."""
    return lambda checkpoint: checkpoint.config.get("model_type") in types


def strip(prefixes: Sequence[str], name: str) -> str:
    """The name without the first of these prefixes that it has."""
    for prefix in prefixes:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name
