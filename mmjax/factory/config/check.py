"""Everything that a config says is looked at before anything starts: keys, types, ranges, names."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mmjax import cli
from mmjax.errors import UserError
from mmjax.factory.checkpoints import pretrained
from mmjax.factory.config import typed
from mmjax.factory.config.asked import asked, check_read, tasks_of
from mmjax.factory.config.filled import filled, missing
from mmjax.factory.config.keys import (
    GROUPS,
    KEYS,
    ONE_TASK,
    TASK_KEYS,
    keys_of,
)
from mmjax.factory.config.parts import (
    SUPPLIED,
    Path,
    children,
    is_list,
    kind_of,
    node_at,
    part_at,
    with_inputs,
)
from mmjax.factory.tables.kinds import KINDS
from mmjax.factory.tables.names import check_complete, check_options, entry, lookup
from mmjax.factory.tables.tasks import TASKS
from mmjax.factory.tuning import check_pattern, patterns_of

PARTS = (pretrained.MODEL, "fusion", "tuning", "alignment", "matching", "critic", "weighting")
OF_TASKS = sorted({key for kind in TASKS.values() for key in kind.keys} - {*ONE_TASK})


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
    _tasks(tree)
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
    others = () if group else GROUPS
    return filled(given, keys_of(group), f"config.{group}." if group else "config.", others)


def _tasks(tree: dict[str, Any]) -> None:
    """config.tasks with defaults, or that config.task is there."""
    if not isinstance(tree["tasks"], dict):
        raise UserError(f"config.tasks={tree['tasks']!r}: give a table of tasks by name")
    if not tree["tasks"]:
        for name in ("task", "losses"):
            if name not in tree:
                raise missing(f"config.{name}", KEYS[name])
        entry(TASKS, tree["task"], "config.task")
        return
    for name in ("task", *ONE_TASK):
        if tree.pop(name, None):
            raise UserError(
                f"config.{name} is of a single task, and config.tasks has some: put it into"
                f" config.tasks.{next(iter(tree['tasks']))}, or leave it out"
            )
    for name, spec in tree["tasks"].items():
        where = f"config.tasks.{name}"
        spec = {"name": spec} if isinstance(spec, str) else spec
        if not isinstance(spec, dict):
            raise UserError(f"{where}={spec!r}: give a table of keys, such as {{'name': ...}}")
        if not name.isidentifier():
            raise UserError(f"{where}: a task's name is of letters, digits and _")
        tree["tasks"][name] = filled(spec, TASK_KEYS, f"{where}.")
        if "losses" not in spec:
            raise missing(f"{where}.losses", TASK_KEYS["losses"])


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
    for name in names:
        if name in encoders:
            lookup(KINDS, kind_of(tree, name), f"config.encoders.{name}.kind")


def _shorthands(tree: dict[str, Any]) -> None:
    """A name alone stands for a part without options, a tuple of names for a table of them."""
    heads = []
    for task in asked(tree).values():
        node = node_at(tree, task.path)
        for label in ("losses", "metrics"):
            part = (node[label],) if isinstance(node[label], str) else node[label]
            names = isinstance(part, tuple) and all(isinstance(name, str) for name in part)
            table = isinstance(part, dict) and all(isinstance(v, dict) for v in part.values())
            if not names and not table:
                raise UserError(
                    f"{task.where}.{label}={part!r}: give a tuple of names, or a table of options"
                    " by name"
                )
            node[label] = part
        if not node["losses"]:
            raise UserError(
                f"{task.where}.losses is empty: name one at least, such as ('cross_entropy',)"
            )
        heads.append((*task.path, "head"))
    encoders = (("encoders", name) for name in tree["encoders"])
    for path in (*((name,) for name in PARTS), *encoders, *heads):
        *parents, last = path
        node = node_at(tree, tuple(parents))
        if isinstance(node.get(last), str):
            node[last] = {"name": node[last]}
    for group, key in (("data", "shapes"), ("data", "columns"), ("", "augment")):
        node = tree[group] if group else tree
        if not isinstance(node[key], dict):
            where = ".".join(("config", *filter(None, (group, key))))
            raise UserError(f"{where}={node[key]!r}: give a table by modality")


def _paths(tree: Mapping[str, Any]) -> list[Path]:
    """The paths of all parts that there are."""
    found: list[Path] = [(name,) for name in PARTS if tree.get(name) is not None]
    found += [("encoders", name) for name in tree["encoders"]]
    found += [("data", "options"), ("optimizer", "options")]
    for task in asked(tree).values():
        node = node_at(tree, task.path)
        found += [(*task.path, k, name) for k in ("losses", "metrics") for name in node[k]]
        if task.type.heads:
            found.append((*task.path, "head"))
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
    if is_list(path[:-1]) and isinstance(node_at(tree, path[:-1]), tuple):
        spec = {}
    if not isinstance(spec, dict):
        raise UserError(f"{where}={spec!r}: give a table of options")
    if path == ("fusion",) and not spec:
        return  # a model that writes what one modality says has none
    if path[0] == "encoders":
        kind = spec.get("kind", path[1])
        lookup(KINDS, kind, f"{where}.kind")
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
        entry(part.table, name, ".".join(("config", *path[:-1])) if own else f"{where}.name")
    if part.reads:
        return  # its options may be names of arrays: `bind` looks at them
    known = part.options(name)
    plain_keys = {*part.extra, *(() if part.unnamed else ("name",))}
    options = {key: value for key, value in spec.items() if key not in plain_keys}
    spec.update(check_options(known, options, where, name or path[-1]))
    if name != pretrained.NAME:
        check_complete(known, {*spec, *SUPPLIED}, where, name or path[-1])


def _shapes(tree: Mapping[str, Any]) -> None:
    for name, column in tree["data"]["columns"].items():
        lookup(with_inputs(tree), name, "config.data.columns")
        typed.typed(column, str | tuple[str, ...], f"config.data.columns.{name}")
    shapes = tree["data"]["shapes"]
    for name, shape in shapes.items():
        where = f"config.data.shapes.{name}"
        lookup(with_inputs(tree), name, "config.data.shapes")
        shape = typed.typed(shape, tuple[int, ...], where)
        if not shape or min(shape) < 1:
            raise UserError(f"{where}={shape}: give sizes of 1 or more, such as (16,)")
        kind = kind_of(tree, name)
        lookup(KINDS, kind, f"config.{pretrained.MODEL}.kinds.{name}")
        sizes = KINDS[kind].sizes
        if len(shape) != len(sizes):
            raise UserError(f"{where}={shape}: {kind} has the sizes ({', '.join(sizes)})")
        shapes[name] = shape
    for name in (name for name in tree["modalities"] if name not in shapes):
        kind = kind_of(tree, name)
        lookup(KINDS, kind, f"config.encoders.{name}.kind")
        if KINDS[kind].usual is None:
            raise UserError(
                f"config.data.shapes has no {name!r}: give the shape of one example, such as (16,)"
            )
        key, _ = KINDS[kind].usual
        if key not in tree["data"]:
            raise UserError(f"config.data.{key} is missing: {KEYS[f'data.{key}'].about}")


def _together(tree: Mapping[str, Any]) -> None:
    """What one key says of another."""
    tasks, data, train = asked(tree), tree["data"], tree["train"]
    used = {key for task in tasks.values() for key in task.type.keys}
    for key in (*OF_TASKS, *(("head",) if "head" in tree else ())):
        value = tree.get(key)
        if key not in used and value and value != KEYS[key].default:
            others = map(repr, tasks_of(key))
            kinds = " and ".join(repr(task.kind) for task in tasks.values())
            raise UserError(
                f"config.{key} is for config.task={' or '.join(others)}, not for {kinds}: leave it"
                " out"
            )
    whole = tree.get(pretrained.MODEL) is not None and not tree["encoders"]
    if "width" not in tree and not whole:
        raise UserError(f"config.width is missing: {KEYS['width'].about}")
    for needs in (needs for task in tasks.values() for needs in task.type.needs):
        first = needs[0]
        if not any(tree.get(key) for key in needs):
            part = part_at(tree, (first,))
            choices = "" if part.unnamed else cli.nearest("", list(part.table))
            raise UserError(f"config.{first} is missing: {choices or KEYS[first].about}")
    check_read(tree)
    models = {task.type.model: name for name, task in tasks.items()}
    if len(models) > 1:
        one, other = list(models.values())[:2]
        raise UserError(
            f"config.tasks: {one} and {other} are answered by different models: train them apart"
        )
    if len(tasks) > 1 and tree["decision"]:
        raise UserError("config.decision fuses the decisions of one task: leave it out")
    if tree["decision"] and tree["mixup"]:
        raise UserError("config.mixup mixes fused vectors, and config.decision has none: keep one")
    if tree["decision"] and tree["modality_dropout"]:
        raise UserError(
            "config.modality_dropout is of what a fusion sees, and config.decision has none: keep"
            " one"
        )
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
