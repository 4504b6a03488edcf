"""--print_config: the whole config with its defaults, as a file that --config reads again."""

import inspect
import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mmjax.factory.config import typed
from mmjax.factory.config.asked import asked, tasks_of
from mmjax.factory.config.keys import KEYS
from mmjax.factory.config.parts import SUPPLIED, Named, is_list, node_at, part_at
from mmjax.factory.tables.gallery import EXTRAS
from mmjax.factory.tables.names import has

HEAD = '''"""{about}"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The whole recipe, with all defaults."""
    return ConfigDict(
{body}
    )
'''
INDENT, WIDTH = 8, 70
ORDER = [part for key in KEYS for part in key.split(".")]  # of keys; a name comes first in a part
NOT_OPTIONS = (*SUPPLIED, *EXTRAS, "mask", "names")


def as_python(config: ConfigDict, about: str) -> str:
    """A config with all defaults, as the text of a file with get_config.

    Args:
        config: as `factory.checked` gives it.
        about: what it is, in one line.
    """
    tree = typed.plain(config)
    body = " " * INDENT + _text(with_options(tree, ()), INDENT)
    return HEAD.format(about=about.replace("\\", "/").replace('"', "'"), body=body)


def with_options(tree: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The table at a path of a config, with the defaults of the options of each part in it.

    Left out are options that the rest of the config gives, and those that are None: unset.
    """
    node, part = node_at(tree, path), part_at(tree, path)
    used = {key for task in asked(tree).values() for key in task.type.keys}
    if len(path) == 1 and tasks_of(path[0]) and path[0] not in used:
        return {}
    if is_list(path) and isinstance(node, tuple):
        node = {name.rpartition(":")[2]: {"name": name} if ":" in name else {} for name in node}
        tree = replaced(tree, path, node)
    found = dict(node)
    for key, value in found.items():
        if isinstance(value, dict) or (is_list((*path, key)) and isinstance(value, tuple)):
            found[key] = with_options(tree, (*path, key))
    return found | (_defaults(part, node) if part is not None else {})


def replaced(tree: Any, path: tuple[str, ...], node: Any) -> dict[str, Any]:
    """Nested dictionaries with another value at a path."""
    if not path:
        return node
    return {**tree, path[0]: replaced(tree.get(path[0], {}), path[1:], node)}


def _defaults(part: Named, node: Mapping[str, Any]) -> dict[str, Any]:
    name = "" if part.unnamed else node.get("name", part.default)
    options = part.options(name) if has(part.table, name) else {}
    unset = {k: p.default for k, p in options.items() if k not in node and k not in NOT_OPTIONS}
    weight = {"weight": 1.0} if "weight" in part.extra and "weight" not in node else {}
    return weight | {key: value for key, value in unset.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    """Whether a default is one that a config can say."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str) and value is not inspect.Parameter.empty


def _text(value: Any, indent: int) -> str:
    """A value as Python, with the keys of a table on lines of their own where they need it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        inside = ", ".join(_text(v, indent) for v in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if not isinstance(value, dict):
        return repr(value)
    keys = sorted(value, key=lambda key: (key != "name", _place(key), key))
    line = ", ".join(f"{json.dumps(k)}: {_text(value[k], 0)}" for k in keys)
    if not value or ("\n" not in line and len(line) < WIDTH):
        return f"{{{line}}}"
    lines = (f"{json.dumps(k)}: {_text(value[k], indent + 4)}" for k in keys)
    inside = "".join(f"{' ' * (indent + 4)}{text},\n" for text in lines)
    return f"{{\n{inside}{' ' * indent}}}"


def _place(key: str) -> int:
    return ORDER.index(key) if key in ORDER else len(ORDER)
