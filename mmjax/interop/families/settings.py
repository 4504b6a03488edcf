"""config.json as the families read it: defaults filled in, names in our words."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from mmjax.types import UserError

# From the names of transformers to those of mmjax.nn.options.ACTIVATIONS.
ACTIVATIONS = {
    "gelu": "gelu_exact",
    "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


def settings(config: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> SimpleNamespace:
    """The entries of a config that `defaults` names: a config.json holds only what differs.

    Raises:
        UserError: one is of another type than its default: a number for a number, a word for a
            word. Where the default is None, anything is taken.
    """
    found = {**defaults, **{key: config[key] for key in defaults if key in config}}
    for key, value in found.items():
        default = defaults[key]
        kind = (int, float) if type(default) in (int, float) else type(default)
        pair = isinstance(default, int) and isinstance(value, (list, tuple))  # a size may be two
        wrong = isinstance(value, bool) and not isinstance(default, bool)
        if default is not None and (wrong or not (isinstance(value, kind) or pair)):
            raise UserError(
                f"{where}: config.json has {key}={value!r}, where {default!r} would be usual:"
                " is the file damaged, or of another model?"
            )
    return SimpleNamespace(**found)


def section(config: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """A nested part of config.json; {} if it is left out."""
    part = config.get(name) or {}
    if not isinstance(part, Mapping):
        raise UserError(f"{where}: {name!r} in config.json is not a table: is the file damaged?")
    return part


def activation(name: str, where: str) -> str:
    """Our name of an activation.

    Raises:
        UserError: mmjax does not have it.
    """
    if name not in ACTIVATIONS:
        raise UserError(
            f"{where}: activation {name!r} in config.json is not one of"
            f" {', '.join(sorted(ACTIVATIONS))}"
        )
    return ACTIVATIONS[name]


def pair(size: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """A side, or rows and columns -> rows and columns."""
    rows, columns = (size, size) if isinstance(size, int) else size
    return int(rows), int(columns)
