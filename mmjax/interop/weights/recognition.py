"""Which model a file holds, and under which of its names: one step for all architectures."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from mmjax.errors import UserError, decoding
from mmjax.interop.architecture import Architecture, Checkpoint, Spec
from mmjax.interop.architectures import ARCHITECTURES
from mmjax.interop.formats.reading import shown as shortened
from mmjax.interop.weights.wrapping import Reading, readings

ADVICE = "fetch the files of the model again"
SHOWN = 4  # names in a message


class Candidate(NamedTuple):
    """A way to read a file, and what becomes of it.

    reading: of its names.
    spec: the one that recognises it.
    architecture: as the spec builds it; None if it refuses.
    error: why it refuses.
    found, needed: of the tensors that the model needs, how many there are, and how many it needs.
    """

    reading: Reading
    spec: Spec
    architecture: Architecture | None
    error: UserError | None
    found: int = 0
    needed: int = 0


def architecture_name(checkpoint: Checkpoint) -> str | None:
    """The name of the first architecture that recognises a checkpoint; None if none does."""
    chosen = choose(checkpoint, np.float32)
    return None if chosen is None else chosen.spec.name


def architecture_of(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """How mmjax builds a model, by what its config and its tensors say.

    What a training program put around the model is taken off (see
    `mmjax.interop.weights.wrapping`), with
    averaged weights before those they are averages of; what lies beside it is left.

    Raises:
        UserError: it is of no architecture that mmjax knows, or that one refuses it.
    """
    chosen = choose(checkpoint, dtype)
    if chosen is not None:
        if chosen.architecture is None:
            assert chosen.error is not None
            raise chosen.error
        return dataclasses.replace(chosen.architecture, reading=chosen.reading)
    shown = f"tensors such as {', '.join(map(shortened, list(checkpoint.weights)[:SHOWN]))}"
    kind = checkpoint.config.get("model_type")
    said = f"model_type {kind!r} is no model" if kind else f"a file of {shown} is no model"
    raise UserError(
        f"{checkpoint.path}: {said} that mmjax can load{f' ({shown})' if kind else ''}; it loads"
        f" {', '.join(spec.name for spec in ARCHITECTURES)}"
        f"{'' if kind else ', most of them only with their config.json beside the weights'}"
    )


def choose(checkpoint: Checkpoint, dtype: Any) -> Candidate | None:
    """The first reading that has all that its model needs; else the most likely one, if any.

    Averaged weights that a model has some names of are never passed over: what is missing is then
    an error, not a reason to take others.
    """
    best: Candidate | None = None
    averaged = True
    for reading in readings(checkpoint.weights):
        if averaged and not reading.averaged and best is not None and best.found:
            return best
        averaged = reading.averaged
        candidate = _try(checkpoint, reading, dtype)
        if candidate is None:
            continue
        if candidate.architecture is not None and candidate.found == candidate.needed:
            return candidate
        if best is None or candidate.found > best.found:
            best = candidate
    return best


def _try(checkpoint: Checkpoint, reading: Reading, dtype: Any) -> Candidate | None:
    part = checkpoint._replace(weights=reading.pick(checkpoint.weights))
    with decoding(f"{checkpoint.path}: its config.json cannot be understood", ADVICE):
        spec = next((spec for spec in ARCHITECTURES if spec.recognises(part)), None)
    if spec is None:
        return None
    what = f"{checkpoint.path}: config.json and the tensors are of no model of the architecture"
    try:
        with decoding(f"{what} {spec.name}", ADVICE):
            architecture = spec.build(part, dtype)
    except UserError as error:
        return Candidate(reading, spec, None, error)
    needed = {name for rule in architecture.rules for name in rule.theirs}
    found = needed.intersection(map(architecture.normalise, part.weights))
    return Candidate(reading, spec, architecture, None, len(found), len(needed))
