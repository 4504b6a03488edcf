"""Keys of a config with their defaults, types and ranges."""

from collections.abc import Collection, Mapping
from typing import Any

from mmjax import cli
from mmjax.errors import UserError
from mmjax.factory.config import typed
from mmjax.factory.config.keys import ABSENT, REQUIRED, Key, Part
from mmjax.factory.tables.names import is_path


def filled(
    given: dict[str, Any], known: Mapping[str, Key], prefix: str, others: Collection[str] = ()
) -> dict[str, Any]:
    """The keys of a group with defaults, each in its type and range.

    Args:
        given: what a config says.
        known: the keys that there are.
        prefix: of the group's keys, for messages.
        others: names that may stand beside these keys.

    Raises:
        UserError: an unknown key (the nearest is named), a key that is missing, a value of another
            type or out of its range.
    """
    for name in given:
        if name not in known and name not in others:
            near = cli.nearest(str(name), [*known, *others])
            raise UserError(f"{prefix}{name}: no such key; {near}")
    found = {}
    for name, key in known.items():
        value = given.get(name, key.default)
        if value is None and key.default is ABSENT:
            continue
        if value is REQUIRED:
            raise missing(prefix + name, key)
        if value is not ABSENT:
            found[name] = _value(value, key, prefix + name)
    return found | {name: value for name, value in given.items() if name not in known}


def _value(value: Any, key: Key, where: str) -> Any:
    if key.kind is Part:
        return value
    if key.kind == tuple[str, ...] and isinstance(value, str):
        value = (value,)
    value = typed.typed(value, key.kind, where)
    if key.names:
        return _one_of(value, key, where)
    for outside in (
        key.least is not None and value < key.least,
        key.most is not None and value > key.most,
        key.below is not None and value >= key.below,
    ):
        if outside:
            raise UserError(f"{where}={value}: choose {key.range()}")
    return value


def _one_of(value: str, key: Key, where: str) -> str:
    if value not in key.names and not (key.open and is_path(value)):
        near = cli.nearest(value, [name or "''" for name in key.names])
        raise UserError(f"{where}: unknown {value!r}; {near}")
    return value


def missing(where: str, key: Key) -> UserError:
    """The error of a key that must be there."""
    choices = f": one of {', '.join(key.names)}" if key.names else ""
    return UserError(f"{where} is missing: {key.about}{choices}")
