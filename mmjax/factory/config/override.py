"""--config.KEY=VALUE -> the config with it: any key, and any option that a part of it has."""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, get_args

from ml_collections import ConfigDict

from mmjax import cli
from mmjax.errors import UserError
from mmjax.factory.checkpoints import pretrained
from mmjax.factory.config import typed
from mmjax.factory.config.keys import ABSENT, KEYS
from mmjax.factory.config.parts import (
    OPEN,
    Path,
    children,
    is_group,
    is_list,
    node_at,
    part_at,
)

FIRST = ("name", "kind", "task", "modalities")  # what says which other keys there are
# types of keys that nothing is inside, set or not
PLAIN = (bool, float, int, str)
_CHECKPOINT = re.compile(r"encoders\.(?P<name>[^.\[\]]+)\.checkpoint")
_INDEX = re.compile(r"\[(\d+)\]")


def overridden(config: ConfigDict, given: Sequence[tuple[str, str]]) -> ConfigDict:
    """A config with keys set as on a command line.

    A key may be one that the config leaves out: an option of the part that the config names, such
    as fusion.dropout, or one with a default. A name alone takes the place of a whole part with its
    options, and encoders.NAME.checkpoint=PATH that of an encoder, with a published model. Values
    have the type of the key (see `typed.from_text`); None takes a key away. Parts are set before
    what is inside them; of a key that is set twice, the last value counts.

    Args:
        config: as its file made it; it stays as it is.
        given: keys, such as "train.steps" or "data.shapes.a[0]", and values as text.

    Raises:
        UserError: no such key (the nearest is named), or a value of another type.
    """
    tree = typed.plain(config)
    split = [(*_split(key), text) for key, text in _spelled_out(tree, given)]
    for path, index, text in sorted(split, key=lambda g: (len(g[0]), g[0][-1] not in FIRST)):
        _set(tree, path, index, text)
    return ConfigDict(tree)


def _spelled_out(
    tree: Mapping[str, Any], given: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """The keys, those of checkpoints as whole entries of encoders."""
    for key, text in given:
        match = _CHECKPOINT.fullmatch(key)
        if match is None:
            yield key, text
            continue
        before = tree.get("encoders", {}).get(match["name"], {})
        kind = {"kind": before["kind"]} if isinstance(before, dict) and "kind" in before else {}
        yield f"encoders.{match['name']}", repr({"name": pretrained.NAME, "path": text, **kind})


def _split(key: str) -> tuple[Path, tuple[int, ...]]:
    bare, index = _INDEX.sub("", key), tuple(map(int, _INDEX.findall(key)))
    path = tuple(bare.split("."))
    if (index and not key.endswith("]")) or "[" in bare or "]" in bare or not all(path):
        raise UserError(f"--config.{key}: no such key; write --config.KEY=VALUE, or KEY[0]=VALUE")
    return path, index


def _set(tree: dict[str, Any], path: Path, index: tuple[int, ...], text: str) -> None:
    where = "config." + ".".join(path)
    annotation = _annotation(tree, path)
    node = tree
    for depth, name in enumerate(path[:-1], 1):
        _open(tree, path[:depth], node, name)
        node = node[name]
    if index:
        value = _element(node.get(path[-1]), index, annotation, text, where)
    elif annotation is dict:
        value = _dictionary(tree, path, text, where)
    elif typed.literal(text) is None and (annotation is not str or _is_optional(path)):
        value = None
    elif annotation == tuple[str, ...] and isinstance(typed.literal(text), str):
        value = (typed.literal(text),)  # one name alone
    else:
        value = typed.from_text(text, annotation, where)
    if value is None and not _fits_none(annotation):
        node.pop(path[-1], None)
    else:
        node[path[-1]] = value


def _annotation(tree: Mapping[str, Any], path: Path) -> Any:
    """The type of a key; raises a UserError where a part of its path is no key."""
    annotation: Any = dict
    for depth, name in enumerate(path):
        known = children(tree, path[:depth])
        if known is None:
            here = node_at(tree, path[:depth])
            is_table = isinstance(here, Mapping) and (here or annotation not in PLAIN)
            if depth and annotation is not dict and not is_table:
                _no_key(path, depth, [])
            return Any
        if name not in known:
            _no_key(path, depth, list(known))
        annotation = known[name]
    return annotation


def _no_key(path: Path, depth: int, known: list[str]) -> None:
    full = ".".join(("config", *path[: depth + 1]))
    inside = f"nothing is inside config.{'.'.join(path[:depth])}"
    raise UserError(
        f"--{full}: no such key; {cli.nearest(path[depth], known) if known else inside}"
    )


def _open(tree: Any, path: Path, node: dict[str, Any], name: str) -> None:
    """Makes a dictionary of what stands under a name, so that a key can be put into it."""
    value = node.get(name)
    if isinstance(value, dict):
        return
    if is_list(path):
        names = (value,) if isinstance(value, str) else value or ()
        node[name] = {label: {} for label in names}
    elif isinstance(value, str) and part_at(tree, path) is not None:
        node[name] = {"name": value}
    else:
        node[name] = {}


def _element(old: Any, index: tuple[int, ...], annotation: Any, text: str, where: str) -> tuple:
    at, *deeper = index
    size = len(old) if isinstance(old, tuple) else None
    if size is None or at >= size:
        has = "is no tuple" if size is None else f"has {size} entries, counted from 0"
        raise UserError(f"--{where}[{at}]: no such entry; config.{where[7:]} {has}")
    inner = next(iter(get_args(annotation)), Any)
    if deeper:
        value = _element(old[at], tuple(deeper), inner, text, f"{where}[{at}]")
    else:
        value = typed.from_text(text, inner, f"{where}[{at}]")
    return (*old[:at], value, *old[at + 1 :])


def _dictionary(tree: Mapping[str, Any], path: Path, text: str, where: str) -> Any:
    value = typed.plain(typed.literal(text))
    if is_group(path):
        if path == ("optimizer",) and isinstance(value, str):
            return {**node_at(tree, path), "name": value, "options": {}}
        if not isinstance(value, dict) or not value:
            inside = ", ".join(children(tree, path) or ())
            raise UserError(f"--{where}={text}: set a key inside it; There is: {inside}")
        return value
    part = part_at(tree, path)
    if isinstance(value, str) and part is not None and not part.unnamed:
        old = node_at(tree, path)
        kind = {"kind": old["kind"]} if isinstance(old, Mapping) and "kind" in old else {}
        return {"name": value} | kind
    if not isinstance(value, dict | NoneType) and not (
        is_list(path) and isinstance(value, str | tuple)
    ):
        raise UserError(f"--{where}={text}: give a table of keys, such as {{'name': ...}}")
    return value


def _is_optional(path: Path) -> bool:
    """Whether a key may be taken away, so that None is no text."""
    key = KEYS.get(".".join(path))
    return key is not None and key.default is ABSENT


def _fits_none(annotation: Any) -> bool:
    return annotation in (Any, OPEN) or type(None) in get_args(annotation)
