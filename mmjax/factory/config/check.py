"""Everything that a config says is looked at before anything starts: keys, types, ranges, names."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mmjax import cli
from mmjax.errors import UserError
from mmjax.factory.checkpoints import pretrained
from mmjax.factory.config import typed
from mmjax.factory.config.keys import ABSENT, GROUPS, KEYS, LABELLED, REQUIRED, Key, Part, keys_of
from mmjax.factory.config.parts import (
    SUPPLIED,
    Path,
    children,
    kind_of,
    node_at,
    part_at,
    with_inputs,
)
from mmjax.factory.tables.names import RAW, check_complete, check_options, lookup
from mmjax.factory.tuning import check_pattern, patterns_of

PARTS = (pretrained.MODEL, "fusion", "tuning", "alignment", "matching", "critic", "head")


def checked(config: ConfigDict) -> ConfigDict:
    """A config with its defaults, each value in its type, and each part with a name in its place.

    Args:
        config: as a file, a command line or a workdir says it; it stays as it is.

    Raises:
        UserError: an unknown key or name (the nearest is named), a key that is missing, a value of
            another type or out of its range, or values that do not go together.
    """
    if not isinstance(config, ConfigDict):
        raise UserError(f"a config is a ConfigDict, got {type(config).__name__}")
    tree = _keys(typed.plain(config), "")
    for group in GROUPS:
        if not isinstance(tree.setdefault(group, {}), dict):
            raise UserError(f"config.{group}={tree[group]!r}: give a table of keys")
        tree[group] = _keys(tree[group], group)
    _modalities(tree)
    _shorthands(tree)
    for path in _paths(tree):
        _part(tree, path)
    _shapes(tree)
    _together(tree)
    for where, patterns in patterns_of(tree).items():
        for pattern in patterns:
            check_pattern(pattern, where)
    return ConfigDict(tree)


def _keys(given: dict[str, Any], group: str) -> dict[str, Any]:
    """The keys of a group, or those outside of all groups, with defaults."""
    known, prefix = keys_of(group), f"config.{group}." if group else "config."
    for name in given:
        if name not in known and (group or name not in GROUPS):
            near = cli.nearest(str(name), [*known, *(() if group else GROUPS)])
            raise UserError(f"{prefix}{name}: no such key; {near}")
    found = {}
    for name, key in known.items():
        value = given.get(name, key.default)
        if value is None and key.default is ABSENT:
            continue
        if value is REQUIRED:
            choices = f": one of {', '.join(key.names)}" if key.names else ""
            raise UserError(f"{prefix}{name} is missing: {key.about}{choices}")
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
    if value not in key.names:
        near = cli.nearest(value, [name or "''" for name in key.names])
        raise UserError(f"{where}: unknown {value!r}; {near}")
    return value


def _modalities(tree: dict[str, Any]) -> None:
    names, encoders = tree["modalities"], tree["encoders"]
    if not isinstance(encoders, dict):
        raise UserError(f"config.encoders={encoders!r}: give a table of encoders by modality")
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"config.modalities={names!r} must be a tuple of different names such as ('image',)"
        )
    for name in names:
        lookup(with_inputs(tree), name, "config.modalities")


def _shorthands(tree: dict[str, Any]) -> None:
    """A name alone stands for a part without options, a tuple of names for a table of them."""
    for label in ("losses", "metrics"):
        part = (tree[label],) if isinstance(tree[label], str) else tree[label]
        if isinstance(part, tuple) and all(isinstance(name, str) for name in part):
            continue
        if not isinstance(part, dict) or not all(isinstance(v, dict) for v in part.values()):
            raise UserError(
                f"config.{label}={part!r}: give a tuple of names, or a table of options by name"
            )
    for label in ("losses", "metrics"):
        tree[label] = (tree[label],) if isinstance(tree[label], str) else tree[label]
    if not tree["losses"]:
        raise UserError("config.losses is empty: name one at least, such as ('cross_entropy',)")
    for path in (*((name,) for name in PARTS), *(("encoders", name) for name in tree["encoders"])):
        *parents, last = path
        node = node_at(tree, tuple(parents))
        if isinstance(node.get(last), str):
            node[last] = {"name": node[last]}
    for group, key in (("data", "shapes"), ("", "augment")):
        node = tree[group] if group else tree
        if not isinstance(node[key], dict):
            where = ".".join(("config", *filter(None, (group, key))))
            raise UserError(f"{where}={node[key]!r}: give a table by modality")


def _paths(tree: Mapping[str, Any]) -> list[Path]:
    """The paths of all parts that there are."""
    found: list[Path] = [(name,) for name in PARTS if tree.get(name) is not None]
    found += [("encoders", name) for name in tree["encoders"]]
    found += [("data", "options"), ("optimizer", "options")]
    for label in ("losses", "metrics"):
        names = tree[label]
        found += [(label, name) for name in names]
    for name, functions in tree["augment"].items():
        lookup(with_inputs(tree), name, "config.augment")
        if not isinstance(functions, dict):
            raise UserError(f"config.augment.{name}={functions!r}: give a table of options by name")
        for function in functions:
            known = children(tree, ("augment", name)) or {}
            lookup(known, function, f"config.augment.{name}")
        found += [("augment", name, function) for function in functions]
    return found


def _part(tree: dict[str, Any], path: Path) -> None:
    where, spec = ".".join(("config", *path)), node_at(tree, path)
    if path[0] in ("losses", "metrics") and isinstance(tree[path[0]], tuple):
        spec = {}
    if not isinstance(spec, dict):
        raise UserError(f"{where}={spec!r}: give a table of options")
    if path == ("fusion",) and not spec:
        return  # a model that writes what one modality says has none
    if path[0] == "encoders":
        kind = spec.get("kind", path[1])
        lookup(RAW, kind, f"{where}.kind")
        if not spec.get("name"):
            raise UserError(
                f"{where}.name is missing: {cli.nearest('', list(part_at(tree, path).table))}"
            )
    part = part_at(tree, path)
    assert part is not None, path
    name = "" if part.unnamed else spec.get("name", part.default)
    if not part.unnamed:
        own = name == part.default and "name" not in spec
        if not name:
            raise UserError(f"{where} has no 'name'; {cli.nearest('', list(part.table))}")
        lookup(part.table, name, f"config.{path[0]}" if own else f"{where}.name")
    if part.reads:
        return  # its options may be names of arrays: `bind` looks at them
    known = part.options(name)
    plain_keys = {*part.extra, *(() if part.unnamed else ("name",))}
    options = {key: value for key, value in spec.items() if key not in plain_keys}
    spec.update(check_options(known, options, where, name or path[-1]))
    if name != pretrained.NAME:
        check_complete(known, {*spec, *SUPPLIED}, where, name or path[-1])


def _shapes(tree: Mapping[str, Any]) -> None:
    shapes = tree["data"]["shapes"]
    for name, shape in shapes.items():
        where = f"config.data.shapes.{name}"
        lookup(with_inputs(tree), name, "config.data.shapes")
        shape = typed.typed(shape, tuple[int, ...], where)
        if not shape or min(shape) < 1:
            raise UserError(f"{where}={shape}: give sizes of 1 or more, such as (16,)")
        kind = kind_of(tree, name)
        lookup(RAW, kind, f"config.{pretrained.MODEL}.kinds.{name}")
        if len(shape) != len(RAW[kind].sizes):
            raise UserError(f"{where}={shape}: {kind} has the sizes ({', '.join(RAW[kind].sizes)})")
        shapes[name] = shape
    for name in (name for name in tree["modalities"] if name not in shapes):
        key = {"image": "image_size", "text": "text_length"}.get(name)
        if key is None:
            raise UserError(
                f"config.data.shapes has no {name!r}: give the shape of one example, such as (16,)"
            )
        if key not in tree["data"]:
            raise UserError(f"config.data.{key} is missing: {KEYS[f'data.{key}'].about}")


def _together(tree: Mapping[str, Any]) -> None:
    """What one key says of another."""
    task, data, train = tree["task"], tree["data"], tree["train"]
    for path, key in KEYS.items():
        value = node_at(tree, tuple(path.split(".")))
        if key.tasks and task not in key.tasks and value and value != key.default:
            raise UserError(
                f"config.{path} is for config.task={' or '.join(map(repr, key.tasks))}, not for"
                f" {task!r}: leave it out"
            )
    whole = tree.get(pretrained.MODEL) is not None and not tree["encoders"]
    if "width" not in tree and not whole:
        raise UserError(f"config.width is missing: {KEYS['width'].about}")
    if task == "alignment" and "alignment" not in tree and not whole:
        raise UserError("config.alignment is missing: the projections, such as {'embedding': 64}")
    if task in LABELLED and not tree["decision"] and not tree.get("fusion"):
        raise UserError(
            f"config.fusion is missing: {cli.nearest('', list(part_at(tree, ('fusion',)).table))}"
        )
    if tree["decision"] and tree["mixup"]:
        raise UserError("config.mixup mixes fused vectors, and config.decision has none: keep one")
    sizes = [key for key in ("batch_size", "images_per_batch") if key in data]
    if len(sizes) != 1:
        raise UserError(
            f"config.data.batch_size {'and' if sizes else 'or'} config.data.images_per_batch: "
            f"{'keep one of them' if sizes else 'give one of them'}"
        )
    if "questions_per_image" in data and sizes == ["batch_size"]:
        raise UserError(
            "config.data.questions_per_image is for config.data.images_per_batch, and"
            " config.data.batch_size is given: leave one out"
        )
    if tree["optimizer"]["layer_decay"] <= 0:
        decay = tree["optimizer"]["layer_decay"]
        raise UserError(f"config.optimizer.layer_decay={decay}: choose more than 0, and 1 at most")
    accumulate = tree["optimizer"]["accumulate"]
    if accumulate > train["steps"]:
        raise UserError(
            f"config.optimizer.accumulate={accumulate}: choose {train['steps']} at most, or"
            " nothing is updated in config.train.steps"
        )
