"""The tables of data sets and ways to train, and how all tables are read."""

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from mmjax import cli
from mmjax.data.datasets.controlled import controlled
from mmjax.data.datasets.digit_arithmetic import digit_arithmetic
from mmjax.data.datasets.digit_halves import digit_halves
from mmjax.data.datasets.digit_pairs import digit_pairs
from mmjax.data.datasets.digit_triples import digit_triples
from mmjax.data.datasets.easy_vqa.sources import easy_vqa
from mmjax.data.datasets.shapes import shapes
from mmjax.data.datasets.spoken_digits import RATE as SPOKEN_DIGITS_RATE
from mmjax.data.datasets.spoken_numbers import RATE as SPOKEN_NUMBERS_RATE
from mmjax.data.datasets.spoken_numbers import spoken_numbers
from mmjax.data.datasets.tux_paint.sources import tux_paint
from mmjax.data.datasets.written_numbers import written_numbers
from mmjax.data.own.dataset import own
from mmjax.errors import UserError
from mmjax.factory.config.typed import plain, said, typed
from mmjax.factory.mixture import mixture
from mmjax.train import optimizer

DATASETS = {
    "controlled": controlled,
    "digit_arithmetic": digit_arithmetic,
    "digit_halves": digit_halves,
    "digit_pairs": digit_pairs,
    "digit_triples": digit_triples,
    "easy_vqa": easy_vqa,
    "mixture": mixture,
    "own": own,
    "shapes": shapes,
    "spoken_numbers": spoken_numbers,
    "tux_paint": tux_paint,
    "written_numbers": written_numbers,
}
# Of the sounds of data sets that have no option `sample_rate`, in Hz.
SAMPLE_RATES = {
    "digit_arithmetic": SPOKEN_DIGITS_RATE,
    "digit_pairs": SPOKEN_NUMBERS_RATE,
    "digit_triples": SPOKEN_NUMBERS_RATE,
    "spoken_numbers": SPOKEN_NUMBERS_RATE,
}
SAMPLE_RATE = 16_000  # Hz, where neither a config nor the data set says it
OPTIMIZERS = {"adamw": optimizer.adamw, "sgd": optimizer.sgd}


DTYPES = {"bfloat16": jnp.bfloat16, "float32": jnp.float32}
SCHEDULES = {"constant": optimizer.constant, "warmup_cosine": optimizer.warmup_cosine}


def lookup(table: Mapping[str, Any], name: str, where: str) -> Any:
    """`table[name]`, or a UserError that names the nearest entries; `where` is the config key."""
    if name not in table:
        raise UserError(f"{where}: unknown {name!r}; {cli.nearest(str(name), list(table))}")
    return table[name]


def entry(table: Mapping[str, Any], name: str, where: str) -> Any:
    """As `lookup`; or what an import path such as "my_module:MyFusion" names, outside of a table.

    Modules are also found in the current directory.

    Raises:
        UserError: no such entry, module or attribute, or a module that cannot be imported.
    """
    if not is_path(name):
        return lookup(table, name, where)
    module, _, attribute = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"{where}={name!r}: {error}; install that module, or start where it lies"
        ) from error
    except Exception as error:
        line = " ".join(str(error).split())
        raise UserError(f"{where}={name!r}: {type(error).__name__} in it: {line}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = [n for n in vars(found) if not n.startswith("_")]
            raise UserError(f"{where}={name!r}: it has no {part!r}; {cli.nearest(part, known)}")
        found = getattr(found, part)
    return found


def is_path(name: Any) -> bool:
    """Whether a name is an import path."""
    return isinstance(name, str) and ":" in name


def has(table: Mapping[str, Any], name: Any) -> bool:
    """Whether `entry` may find a name: it is in the table, or an import path."""
    return is_path(name) or name in table


def options_of(constructor: Callable) -> dict[str, inspect.Parameter]:
    """The options of a constructor or function, by name."""
    parameters = inspect.signature(constructor).parameters.values()
    return {p.name: p for p in parameters if p.name not in ("self", "parent", "name")}


def sample_rate(config: ConfigDict, name: str) -> int:
    """Of the sounds of a modality as they reach its encoder, in Hz.

    What config.encoders.NAME.sample_rate says (config.model.sample_rate of what that encodes), else
    what the data set's options do, else what it always has, else 16,000.
    """
    data = config.get("data", {})
    found = has(DATASETS, data.get("name"))
    known = options_of(entry(DATASETS, data.name, "config.data.name")) if found else {}
    always = known["sample_rate"].default if "sample_rate" in known else SAMPLE_RATE
    always = SAMPLE_RATES.get(data.get("name"), always)
    of_data = data.get("options", {}).get("sample_rate", always)
    spec = config.get("encoders", {}).get(name, config.get("model") or {})
    return spec.get("sample_rate", of_data)


# Counts that may be zero though their default is not.
MAY_BE_ZERO = ("bottlenecks", "fusion_start")


def check_number(where: str, name: str, value: Any, default: Any) -> None:
    """Raises a UserError for a size or a count that cannot be, or a share dropped outside 0..1.

    Whether `value` is a count shows in the default: an int, several, or none.
    """
    if name == "dropout" and not 0 <= value < 1:
        raise UserError(
            f"{where}.dropout: {value} is no share: choose 0.0 or more, and less than 1"
        )
    values = value if isinstance(value, tuple) else (value,)
    defaults = default if isinstance(default, tuple) else (default,)
    if any(type(d) not in (int, type(None), type) for d in defaults):
        return
    lowest = 0 if name in MAY_BE_ZERO or 0 in defaults else 1
    for number in values:
        if type(number) is int and number < lowest:
            raise UserError(f"{where}.{name}: {value} is too small: choose {lowest} or more")


def construct(table: Mapping[str, Callable], spec: ConfigDict, where: str, **given: Any) -> Any:
    """Calls the constructor that `spec.name` names with the other entries of `spec` as options.

    Args:
        table: constructors by name.
        spec: `name` and options; a `kind` is not for the constructor.
        where: the config key of `spec`, for errors.
        given: options that apply unless `spec` says otherwise, where the constructor has them.

    Raises:
        UserError: an unknown name or option, one of another type, a number that cannot be, or an
            option that is missing.
    """
    if "name" not in spec:
        raise UserError(f"{where} has no 'name'; {cli.nearest('', list(table))}")
    constructor = entry(table, spec["name"], f"{where}.name")
    known = options_of(constructor)
    options = {key: value for key, value in spec.items() if key not in ("name", "kind")}
    options = check_options(known, options, where, spec["name"])
    options = {k: v for k, v in given.items() if k in known} | options
    check_complete(known, options, where, spec["name"])
    return constructor(**options)


def check_options(
    known: Mapping[str, inspect.Parameter], options: Mapping[str, Any], where: str, name: str
) -> dict[str, Any]:
    """The options that a part called `name` is given, in the types that it has for them.

    Raises:
        UserError: an unknown option, one of another type, or a number that cannot be.
    """
    found = {}
    for key, value in options.items():
        option = lookup(known, key, f"{where} ({name})" if name else where)
        found[key] = typed(plain(value), option.annotation, f"{where}.{key}")
        check_number(where, key, found[key], option.default)
    return found


def check_complete(
    known: Mapping[str, inspect.Parameter], given: Collection[str], where: str, name: str
) -> None:
    """Raises a UserError for the first option without a default that is not given."""
    for key, option in known.items():
        if option.default is option.empty and key not in given:
            raise UserError(
                f"{where}.{key} is missing: {name or 'it'} needs {said(option.annotation)}"
            )
