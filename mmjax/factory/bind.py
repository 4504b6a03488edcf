"""config.losses and config.metrics -> functions that know what they read, and weights.

An entry is a label with options: {"cross_entropy": {"weight": 1.0, "label_smoothing": 0.1}}. Its
`name` says which loss or metric it is, where the label does not. A loss's `weight` is a number, or
a schedule such as {"name": "linear", "start": 0.0, "end": 1.0, "steps": 500}. An array that it
takes is given as the name of what it is (see tasks.keyed): "a": "encoder/image". Without that,
what the task says is read (TaskType.given); what compares two arrays `a` and `b` is applied to
every pair of modalities, and what judges one, `x` or `embeddings`, to every modality.
"""

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.tables.losses import CLASS_WEIGHTS, LOSSES
from mmjax.factory.tables.names import (
    check_number,
    construct,
    entry,
    is_path,
    lookup,
    options_of,
)
from mmjax.tasks.keyed import TUNED, KeyedFunction
from mmjax.train import weighting

TUNABLE = "thresholds"
PAIR, SINGLE = ("a", "b"), (("x",), ("embeddings",))
WEIGHTS = weighting.schedules.SHAPES
_NOT_OPTIONS = ("name", "weight")
_GIVEN = ("mask", "positives", "names", "a_id", "b_id")  # not for configs to say


class Counts(NamedTuple):
    """The examples of each class in the training split [C], and of all."""

    classes: np.ndarray
    examples: int


def entries(part: Any, where: str) -> dict[str, ConfigDict]:
    """`config.losses` or `config.metrics` by label; a tuple of names is short for no options.

    Raises:
        UserError: it is neither.
    """
    if isinstance(part, (tuple, list)):
        paths = {n.rpartition(":")[2]: ConfigDict({"name": n}) for n in part if is_path(n)}
        return {name: ConfigDict() for name in part if not is_path(name)} | paths
    if isinstance(part, ConfigDict) and all(isinstance(v, ConfigDict) for v in part.values()):
        return dict(part.items())
    raise UserError(f"{where}={part!r}: give a tuple of names, or a table of options by name")


def weights(losses: Any, where: str) -> dict[str, weighting.Weight]:
    """The weight of each loss by label.

    Args:
        losses: of a task, as its config says them.
        where: their config key, for errors.

    Raises:
        UserError: a weight that is neither a number nor a schedule.
    """

    def weight(label: str, spec: ConfigDict) -> weighting.Weight:
        key, given = f"{where}.{label}.weight", spec.get("weight", 1.0)
        if isinstance(given, ConfigDict):
            try:
                return construct(WEIGHTS, given, key)
            except ValueError as error:
                raise UserError(f"{key}: {error}") from error
        if isinstance(given, bool) or not isinstance(given, (int, float)) or math.isnan(given):
            raise UserError(
                f"{key}={given!r}: give a number or a schedule such as"
                " {'name': 'linear', 'start': 0.0, 'end': 1.0, 'steps': 500}"
            )
        return float(given)

    return {label: weight(label, spec) for label, spec in entries(losses, where).items()}


def bind(
    table: Mapping[str, Callable],
    part: Any,
    where: str,
    *,
    modalities: tuple[str, ...],
    space: str,
    counts: Counts | None,
    reads_of_task: tuple[Mapping[str, str], Collection[str]] = ({}, ()),
) -> dict[str, KeyedFunction]:
    """The losses or metrics of a part of a config, by LABEL, LABEL/MODALITY or LABEL/FIRST-SECOND.

    Args:
        table: functions by name.
        part: `config.losses` or `config.metrics`.
        where: the config key of `part`, for errors.
        modalities: the model's.
        space: what the arrays of a pair of modalities are, "encoder/" or "embedding/".
        counts: of the training split; None where no loss needs to know it, as for predictions.
        reads_of_task: what the task reads for each parameter, and for which of them also where
            they have a default.

    Raises:
        UserError: an unknown name or option, or an array that nothing is said about.
    """
    bound, (usual, also) = {}, reads_of_task
    for label, spec in entries(part, where).items():
        key = f"{where}.{label}"
        name = spec.get("name", label)
        function = entry(table, name, where if "name" not in spec else f"{key}.name")
        options, reads = read_options(function, spec, key, counts, table is LOSSES)
        known = inspect.signature(function).parameters
        missing = [p for p in known if _is_array(known[p]) and p not in reads]
        given = [p for p in also if p in known and p not in {*options, *reads}]
        reads |= {p: usual[p] for p in [*missing, *given] if p in usual}
        if TUNABLE in known:
            reads.setdefault(TUNABLE, TUNED + TUNABLE)
        missing = [p for p in missing if p not in usual]
        for group in applied_to(missing, modalities, f"{key} ({name})", space):
            between = "-".join(group) if len(modalities) > len(missing) > 0 else ""
            names = {"names": group} if "names" in known and len(group) == len(PAIR) else {}
            bound[f"{label}/{between}" if between else label] = KeyedFunction(
                functools.partial(function, **options, **names),
                of_group(reads | {p: space + m for p, m in zip(missing, group, strict=True)}),
                where=key,
                part_name=part_name(label, between, own=name == label),
            )
    return bound


def applied_to(
    missing: list[str], modalities: tuple[str, ...], what: str, space: str
) -> list[tuple[str, ...]]:
    """The modalities, or pairs of them, that `a` and `b`, or `x`, are of; [()] if nothing misses.

    Raises:
        UserError: a pair of one modality, or an array that nothing is said about.
    """
    if tuple(missing) in SINGLE:
        return [(name,) for name in modalities]
    if tuple(missing) == PAIR:
        if len(modalities) == 1:
            raise UserError(f"{what} compares modalities: config.modalities has only one")
        return list(itertools.combinations(modalities, 2))
    if missing:
        raise UserError(
            f"{what} needs {' and '.join(missing)}: give the name of an output, such as"
            f" {missing[0]}='{space}{modalities[0]}'"
        )
    return [()]


def of_group(reads: Mapping[str, str]) -> dict[str, str]:
    """With the modalities that `a` and `b` are of in place of "{a}" and "{b}"."""
    of = {f"{{{p}}}": reads[p].rpartition("/")[2] for p in PAIR if p in reads}
    return {
        parameter: functools.reduce(lambda name, mark: name.replace(mark, of[mark]), of, name)
        for parameter, name in reads.items()
    }


def part_name(label: str, pair: str, *, own: bool) -> str:
    """How the numbers of a metric that has several are called, as a format of `part`."""
    return ("{part}" if own else f"{label}/{{part}}") + (f"/{pair}" if pair else "")


def read_options(
    function: Callable, spec: ConfigDict, key: str, counts: Counts | None, is_loss: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """The options of an entry, and the names of the arrays that it gives."""
    known = {n: p for n, p in options_of(function).items() if n not in _GIVEN or _is_array(p)}
    options: dict[str, Any] = {}
    reads: dict[str, str] = {}
    for option, value in spec.items():
        if option in _NOT_OPTIONS[: 1 + is_loss]:
            continue
        parameter = lookup(known, option, key)
        if option == "class_weights":
            rule = lookup(CLASS_WEIGHTS, value, f"{key}.class_weights")
            if counts is not None:
                options[option] = jnp.asarray(rule(counts.classes, counts.examples), jnp.float32)
        elif isinstance(value, str) and not isinstance(parameter.default, str):
            reads[option] = value
        elif _is_array(parameter):
            raise UserError(f"{key}.{option}={value!r}: give the name of an output or of a batch's")
        else:
            check_number(key, option, value, parameter.default)
            options[option] = value
    if "prior" in known and not {"prior"} & (options.keys() | reads.keys()) and counts is not None:
        options["prior"] = jnp.asarray(counts.classes / max(counts.classes.sum(), 1), jnp.float32)
    return options, reads


def _is_array(parameter: inspect.Parameter) -> bool:
    return (
        parameter.default is parameter.empty
        and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    )
