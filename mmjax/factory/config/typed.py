"""Values of a config in the types that their keys and options have."""

import ast
import collections.abc
import inspect
import math
import types
import typing
from typing import Any

from ml_collections import ConfigDict

from mmjax.errors import UserError

_SEQUENCES = (tuple, list, collections.abc.Sequence, collections.abc.Collection)
_WORDS = {
    bool: "True or False",
    float: "a number",
    int: "a whole number",
    str: "a text",
    types.NoneType: "None",
}
_TRUTHS = {"true": True, "false": False}
_MISFIT = object()


def typed(value: Any, annotation: Any, where: str) -> Any:
    """A value in the type that an annotation asks for: 2.0 is 2 for an int, 2 is 2.0 for a float.

    Lists become tuples. What an annotation cannot say of a config, such as an array, may be all.

    Raises:
        UserError: it has another type, or is a number that is not finite.
    """
    found = _fit(value, annotation)
    if found is _MISFIT:
        raise UserError(f"{where}={value!r}: give {said(annotation)}")
    return found


def from_text(text: str, annotation: Any, where: str) -> Any:
    """A value as it stands on a command line, in the type that an annotation asks for.

    Numbers may be written 1e3 and 1_000, truths in small letters; texts need no quotes.

    Raises:
        UserError: as for `typed`.
    """
    value = literal(text)
    if not isinstance(value, str) and _fit(value, annotation) is _MISFIT:
        as_text = _fit(text, annotation)
        value = value if as_text is _MISFIT else as_text
    if isinstance(value, str) and text.lower() in _TRUTHS:
        truth = _fit(_TRUTHS[text.lower()], annotation)
        value = value if truth is _MISFIT else truth
    return typed(value, annotation, f"--{where}")


def literal(text: str) -> Any:
    """The Python value that a text is, or the text itself."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def said(annotation: Any) -> str:
    """What an annotation asks for, in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        known = dict.fromkeys(
            said(a) for a in arguments if a in _WORDS or _is_sequence(a) or _is_table(a)
        )
        return " or ".join(known)
    if _is_table(annotation):
        return "a table such as {'a': ...}"
    if _is_sequence(annotation):
        each = {int: "8", float: "0.5", str: "'a'"}.get(arguments[0], "...")
        return f"a tuple such as ({each},)"
    return _WORDS.get(annotation, "another value")


def _is_sequence(annotation: Any) -> bool:
    return typing.get_origin(annotation) in _SEQUENCES


def _is_table(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (dict, collections.abc.Mapping)


def _fit(value: Any, annotation: Any) -> Any:
    if annotation in _WORDS:
        return _fit_plain(value, annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return _fit_any(value, typing.get_args(annotation))
    if _is_sequence(annotation):
        return _fit_sequence(value, typing.get_args(annotation))
    return plain(value) if isinstance(value, ConfigDict) else value


def _fit_any(value: Any, choices: tuple[Any, ...]) -> Any:
    if type(value) in choices and _fit(value, type(value)) is not _MISFIT:
        return value
    if isinstance(value, (dict, ConfigDict)) and any(map(_is_table, choices)):
        return plain(value)
    fits = (_fit(value, a) for a in choices if a in _WORDS or _is_sequence(a))
    found = next((f for f in fits if f is not _MISFIT), _MISFIT)
    # An annotation that names a type unknown here says nothing of what a config may hold.
    open_ended = any(a is Any or a is inspect.Parameter.empty for a in choices)
    return value if found is _MISFIT and open_ended else found


def _fit_sequence(value: Any, arguments: tuple[Any, ...]) -> Any:
    if not isinstance(value, (tuple, list)):
        return _MISFIT
    if len(arguments) > 1 and arguments[1] is not Ellipsis:
        if len(arguments) != len(value):
            return _MISFIT
        found = tuple(_fit(v, a) for v, a in zip(value, arguments, strict=True))
    else:
        found = tuple(_fit(v, arguments[0]) for v in value)
    return _MISFIT if any(f is _MISFIT for f in found) else found


def _fit_plain(value: Any, kind: type) -> Any:
    if isinstance(value, bool) or kind in (bool, str, types.NoneType):
        return value if type(value) is kind else _MISFIT
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return _MISFIT
    if kind is int:
        return int(value) if value == int(value) else _MISFIT
    return _as_float(value)


def _as_float(value: int | float) -> Any:
    try:
        return float(value)
    except OverflowError:
        return _MISFIT


def plain(tree: Any) -> Any:
    """A config as nested dictionaries of its own, with tuples for lists."""
    if isinstance(tree, ConfigDict):
        tree = tree.copy_and_resolve_references()
    if isinstance(tree, (ConfigDict, collections.abc.Mapping)):
        return {key: plain(value) for key, value in tree.items()}
    return tuple(map(plain, tree)) if isinstance(tree, (list, tuple)) else tree
