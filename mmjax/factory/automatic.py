"""What of a config the data themselves tell: modalities, shapes, encoders, tasks, steps.

Only what a config leaves out is filled in, so every choice can be made by hand. What suits how many
rows is a table: `by_size.SIZES`.
"""

import math
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from mmjax.data.columns.shown import print_columns
from mmjax.data.own.examples import TableSplit
from mmjax.data.own.inputs import module_name
from mmjax.data.sources.targets import CATEGORIES, CATEGORY, NUMBER, TEXT, Target
from mmjax.errors import UserError
from mmjax.factory.by_size import CHOICES, IMAGE_SIZE, Choice, Seen, Size, size_of
from mmjax.factory.checkpoints import pretrained
from mmjax.factory.config.keys import KEYS
from mmjax.factory.config.typed import plain
from mmjax.factory.make_experiment import sources
from mmjax.factory.tables.kinds import KINDS

MAX_IDS = 128  # of a text, by the tokenizer of a checkpoint
MIN_STEPS = 200
MAX_THREADS = 8  # that decode files
LOOKED_AT = 64  # rows by which lengths are chosen
NO_ALIGNMENT = "no target, and one modality only: nothing to learn; set config.data.target"
OF_ONE = ("losses", "metrics", "head")  # keys that may stand outside of config.tasks


def task_of(target: Target, size: Size) -> dict[str, Any]:
    """The task that a target asks for, with losses, metrics and what to watch.

    Args:
        target: of the data.
        size: what suits as many rows as there are.

    Raises:
        UserError: a text.
    """
    if target.type == TEXT:
        raise UserError("a target of text: choose a recipe such as configs/speech.py for it")
    binary = ("roc_auc",) if len(target.classes) == 2 else ()
    return {
        CATEGORY: {
            "name": "classification",
            "losses": {"cross_entropy": {"label_smoothing": size.label_smoothing}},
            "metrics": ("accuracy", "precision_recall_f1", *binary),
            "monitor": ("accuracy", "max"),
        },
        CATEGORIES: {
            "name": "multilabel",
            "losses": ("binary_cross_entropy",),
            "metrics": ("exact_match", "multilabel_precision_recall_f1"),
            "monitor": ("exact_match", "max"),
        },
        NUMBER: {
            "name": "regression",
            "losses": ("l2",),
            "metrics": ("regression",),
            "monitor": ("rmse", "min"),
        },
    }[target.type]


def filled_by_data(config: ConfigDict, splits: Mapping[str, TableSplit]) -> ConfigDict:
    """A config with what it leaves out filled in by its data.

    Args:
        config: as a file and a command line say it; it stays as it is.
        splits: of its data set.

    Raises:
        UserError: nothing can be learned from these data.
    """
    tree, train = plain(config), splits["train"]
    data, rows = tree["data"], len(train)
    size = size_of(rows)
    names = tuple(tree.setdefault("modalities", tuple(train.inputs)))
    encoders, shapes = tree.setdefault("encoders", {}), data.setdefault("shapes", {})
    some = np.unique(np.linspace(0, rows - 1, min(rows, LOOKED_AT)).astype(int)).tolist()
    for name in names:
        seen = Seen(train.inputs[name], _values(train, some, name), size)
        given = encoders.get(name, {})
        choice, entry = _encoder(seen, {"name": given} if isinstance(given, str) else given)
        encoders[name] = {"kind": seen.wanted.kind} | entry
        usual = KINDS[seen.wanted.kind].usual
        if choice.shape and not (usual and usual[0] in data):
            shapes.setdefault(name, choice.shape)
    if any(KINDS[train.inputs[name].kind].files for name in names):
        data.setdefault("threads", min(os.cpu_count() or 1, MAX_THREADS))
    data.setdefault("image_size", IMAGE_SIZE)
    data.setdefault("cut", True)
    data.setdefault("batch_size", int(np.clip(2 ** int(math.log2(max(rows // 16, 1))), 8, 64)))
    tree.setdefault("width", size.width)
    _ask(tree, train, size)
    if "alignment" not in tree and not tree.get("decision"):
        tree.setdefault("fusion", dict(size.fusion))
        if len(names) > 1:
            tree.setdefault("modality_dropout", 0.1)
    _train(tree, rows, size)
    return ConfigDict(tree)


def _encoder(seen: Seen, given: Mapping[str, Any]) -> tuple[Choice, dict[str, Any]]:
    """What suits a modality, and the entry of its encoder; a checkpoint stays as it is."""
    kind = seen.wanted.kind
    choice = CHOICES[kind](seen)
    if given.get("name") == pretrained.NAME and given.get("path"):
        of_kind = given.get("kind", kind)
        shape = pretrained.shape_of(given, of_kind, seen.values, MAX_IDS)
        return choice._replace(shape=shape or choice.shape), {"freeze": True} | dict(given)
    same = given.get("name", choice.encoder["name"]) == choice.encoder["name"]
    return choice, (choice.encoder if same else {}) | dict(given)


def _values(split: TableSplit, positions: list[int], name: str) -> list[Any]:
    found = []
    for position in positions:
        try:
            value = split.parse(position, (name,))[name]
        except UserError:
            continue  # it is counted when it is used
        found += [] if value is None else [value]
    return list(split.inputs[name].together(found))


def _ask(tree: dict[str, Any], train: TableSplit, size: Size) -> None:
    """The tasks of a tree, each called as its column is, and what it watches."""
    if "task" in tree or "tasks" in tree:
        return
    watched = tree.setdefault("train", {})
    if not train.targets:
        if len(tree["modalities"]) < 2:
            raise UserError(f"{train.name}: {NO_ALIGNMENT}")
        tree |= {"task": "alignment", "alignment": {"embedding": 64} | tree.get("alignment", {})}
        tree.setdefault("losses", {"info_nce": {"temperature": "temperature"}})
        tree.setdefault("metrics", ("retrieval",))
        watched.setdefault("monitor", "val/recall_at_10")
        watched.setdefault("mode", "max")
        return
    several = len(train.targets) > 1
    own = {} if several else {key: tree.pop(key) for key in OF_ONE if key in tree}
    tree["tasks"] = tasks = {}
    for target, values in train.targets.items():
        spec, name = task_of(values, size), _task_name(target, tasks)
        metric, mode = spec.pop("monitor")
        tasks[name] = {"target": target} | spec | own
        watched.setdefault("monitor", f"val/{name}/{metric}" if several else f"val/{metric}")
        watched.setdefault("mode", mode)


def _task_name(column: str, taken: Collection[str]) -> str:
    """A column's name as that of a task: of letters, digits and _, and of no other column."""
    name = module_name(column)
    name = name if name.isidentifier() else f"_{name}"
    while name in taken:
        name += "_"
    return name


def _train(tree: dict[str, Any], rows: int, size: Size) -> None:
    train, optimizer = tree["train"], tree.setdefault("optimizer", {})
    steps = train.setdefault(
        "steps", max(MIN_STEPS, size.epochs * rows // tree["data"]["batch_size"])
    )
    train.setdefault("eval_every", max(steps // 10, 1))
    train.setdefault("log_every", max(steps // 20, 1))
    train.setdefault("patience", 5)
    train.setdefault("baselines", True)
    optimizer.setdefault("name", "adamw")
    optimizer.setdefault("schedule", "warmup_cosine")
    optimizer.setdefault("learning_rate", 1e-3)
    optimizer.setdefault("warmup_steps", min(100, steps // 10))
    optimizer.setdefault("clip_norm", 1.0)
    optimizer.setdefault("ema", 0.99)
    if optimizer["name"] == "adamw":
        optimizer.setdefault("options", {"weight_decay": size.weight_decay})


# Data sets that say what a config leaves out: (config, splits) -> the config with it.
FILLED_BY: Mapping[str, Callable[[ConfigDict, Mapping[str, Any]], ConfigDict]] = {
    "own": filled_by_data
}


def filled(
    config: ConfigDict, console: Console | None = None, files: Any = None
) -> tuple[ConfigDict, Mapping[str, Any] | None]:
    """A config with all that its data set tells of it, and the splits if they were looked at.

    Args:
        config: as a file and a command line say it.
        console: where the columns of the data are shown; None: nowhere.
        files: data that are only in Python, in place of config.data.files.

    Raises:
        UserError: whatever is wrong with the data.
    """
    name = config.get("data", {}).get("name")
    if name not in FILLED_BY:
        return config, None
    tree = plain(config)
    tree.setdefault("seed", KEYS["seed"].default)
    for key in ("dir", "options"):
        tree["data"].setdefault(key, KEYS[f"data.{key}"].default)
    config = ConfigDict(tree)
    splits = sources(config, files)
    train = splits["train"]
    if console is not None:
        print_columns(console, train.columns, f"{train.table.name}: {len(train.table):,} rows")
    return FILLED_BY[name](config, splits), splits
