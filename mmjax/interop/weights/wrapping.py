"""The ways in which the names of a file may be read: what training programs put around a model.

A file of training nests the weights in dictionaries, beside the state of the optimizer, and the
names may begin with the wrappers that the model was run in:
`{"state_dict": {"module._orig_mod.conv1.weight": …}, "optimizer": …}`. Sources of the words: timm
(`load_state_dict`, `clean_state_dict`), open_clip (`load_state_dict`), PyTorch
(`DataParallel`, `torch.compile`, `AveragedModel`, FSDP), Lightning (`LightningModule.model`).
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# Where averaged weights are, the first of them first. They are what is evaluated (timm's use_ema).
AVERAGED = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "model_state_dict_ema"),
    *("ema_model_state_dict", "model_ema_state_dict", "ema_model", "ema_net", "net_ema"),
    *("params_ema", "ema_params", "ema_weights", "ema", "shadow", "averaged_model", "swa_model"),
)
# Where a model is. Some of these words are also how a library itself begins its names.
AROUND = (
    *("state_dict", "model_state_dict", "model_state", "model_weights", "model", "net_state_dict"),
    *("net", "network", "module", "params", "weights"),
)
# At any place of a name: modules that PyTorch puts around others, and no model has.
INSIDE = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
MAX_DEPTH = 8  # wrappers around each other
MAX_READINGS = 64


class Reading(NamedTuple):
    """A part of a file as a model of its own.

    part: the names that were taken off, joined by dots; "" for the whole file.
    names: from those in the file to those in the model. What is not there lies beside the model.
    averaged: whether the part is of averaged weights.
    """

    part: str
    names: Mapping[str, str]
    averaged: bool

    def pick(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """The weights of this part by their names in the model."""
        return {self.names[name]: value for name, value in weights.items() if name in self.names}


def readings(weights: Mapping[str, Any]) -> list[Reading]:
    """The ways to read the names of a file, those of averaged weights first, outer before inner.

    The name of a wrapper is taken off where the part below it is a reading, whatever lies beside;
    another word only where all names begin with it.
    """
    # FOLDER/NAME is of a further module of sentence-transformers, which nothing wraps.
    apart = {name: name for name in weights if "/" in name}
    whole = {name: inner(name) for name in weights if name not in apart}
    parts = itertools.islice(_below((), whole, False, weights), MAX_READINGS)
    found = [part._replace(names={**part.names, **apart}) for part in parts]
    found = found or [Reading("", {name: name for name in weights}, False)]
    return sorted(found, key=lambda reading: not reading.averaged)


def inner(name: str) -> str:
    """A name without the modules that PyTorch puts around parts of a model; its first word stays,
    which what lies beside does not have."""
    if not any(word in name for word in INSIDE):
        return name
    first, *rest = name.split(".")
    return ".".join([first, *(part for part in rest if part not in INSIDE)])


def _below(
    path: tuple[str, ...], names: Mapping[str, str], averaged: bool, weights: Mapping[str, Any]
) -> Iterator[Reading]:
    """This part, and those inside of it."""
    by_first: dict[str, dict[str, str]] = {}
    for name, plain in names.items():
        first, dot, rest = plain.partition(".")
        if dot:
            by_first.setdefault(first, {})[name] = rest
    deeper = len(path) < MAX_DEPTH

    def weighs(name: str) -> bool:
        return getattr(weights[name], "shape", None) != ()

    for word in AVERAGED if deeper else ():
        if word in by_first:
            yield from _below((*path, word), by_first[word], True, weights)
    if len(set(names.values())) == len(names):
        yield Reading(".".join(path), names, averaged)
    # A single number beside the weights, such as how many were averaged, is none of them.
    sizes = {word: sum(map(weighs, found)) for word, found in by_first.items()}
    most = sum(map(weighs, names))
    words = [word for word in (*AROUND, *INSIDE) if word in by_first]
    words += [word for word, size in sizes.items() if size == most and word not in words]
    for word in words if deeper else ():
        if word not in AVERAGED:
            yield from _below((*path, word), by_first[word], averaged, weights)
