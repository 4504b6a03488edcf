"""What of a config the data themselves tell: modalities, shapes, encoders, tasks, steps.

Only what a config leaves out is filled in, so every choice can be made by hand. The fusion is a
transformer over the tokens of all modalities.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from mmjax.data.columns.shown import print_columns
from mmjax.data.own.examples import TableSplit
from mmjax.data.own.inputs import Wanted
from mmjax.data.readers.lengths import seconds_of
from mmjax.data.sources.targets import CATEGORIES, CATEGORY, NUMBER, TEXT, Target
from mmjax.errors import UserError
from mmjax.factory.config.keys import KEYS
from mmjax.factory.config.typed import plain
from mmjax.factory.make_experiment import sources
from mmjax.factory.tables.kinds import KINDS
from mmjax.factory.tables.names import SAMPLE_RATE

LOOKED_AT = 64  # rows by which lengths are chosen
SMALL, LARGE = 5_000, 100_000  # rows of training
MAX_WORDS, MAX_SECONDS, MAX_STEPS = 64, 10.0, 512  # of one example
IMAGE_SIZE, FRAMES = 64, 8
NO_ALIGNMENT = "no target, and one modality only: nothing to learn; set config.data.target"


class Seen(NamedTuple):
    """A modality, and some of its values in training."""

    wanted: Wanted
    values: list[Any]
    rows: int

    @property
    def is_small(self) -> bool:
        """Whether there is little to train on."""
        return self.rows < SMALL


class Choice(NamedTuple):
    """An encoder of a config, and the shape of one example; () where config.data says it."""

    encoder: dict[str, Any]
    shape: tuple[int, ...] = ()


def _text(seen: Seen) -> Choice:
    counts = [len(text.split()) + 2 for text in seen.values] or [8]
    length = int(np.clip(np.percentile(counts, 95), 4, MAX_WORDS))
    name = "bag_of_words" if seen.is_small else "transformer"
    options = {"layers": 1} if seen.is_small else {"layers": 2, "dropout": 0.1}
    return Choice({"name": name, **options}, (length,))


def _audio(seen: Seen) -> Choice:
    lengths = [seconds_of(value, SAMPLE_RATE) for value in seen.values] or [1.0]
    seconds = min(float(np.percentile(lengths, 95)), MAX_SECONDS)
    channels = 32 if seen.is_small else 64
    encoder = {"name": "resnet", "norm": "group", "stem": "small", "channels": channels}
    return Choice(encoder, (max(math.ceil(seconds * 10), 4) * SAMPLE_RATE // 10,))


def _series(seen: Seen) -> Choice:
    steps, features = seen.wanted.shape
    steps = min(steps, MAX_STEPS)
    encoder = {"name": "transformer", "patch": max(1, steps // 32), "layers": 2, "dropout": 0.1}
    return Choice(encoder, (steps, features))


def _vector(seen: Seen) -> Choice:
    return Choice({"name": "mlp", "hidden": (128,), "dropout": 0.1}, seen.wanted.shape)


CHOICES: Mapping[str, Callable[[Seen], Choice]] = {
    "audio": _audio,
    "image": lambda _: Choice(
        {"name": "cnn", "patch_size": 4, "channels": (64, 128), "output": "grid", "dropout": 0.1}
    ),
    "series": _series,
    "text": _text,
    "vector": _vector,
    "video": lambda _: Choice(
        {"name": "frames", "frame_options": {"patch_size": 4, "channels": (32, 64)}},
        (FRAMES, IMAGE_SIZE, IMAGE_SIZE, 3),
    ),
}


def task_of(target: Target) -> dict[str, Any]:
    """The task that a target asks for, with losses, metrics and what to watch.

    Raises:
        UserError: a text.
    """
    if target.type == TEXT:
        raise UserError("a target of text: choose a recipe such as configs/speech.py for it")
    binary = ("roc_auc",) if len(target.classes) == 2 else ()
    return {
        CATEGORY: {
            "name": "classification",
            "losses": ("cross_entropy",),
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
    names = tuple(tree.setdefault("modalities", tuple(train.inputs)))
    encoders, shapes = tree.setdefault("encoders", {}), data.setdefault("shapes", {})
    some = np.unique(np.linspace(0, rows - 1, min(rows, LOOKED_AT)).astype(int)).tolist()
    for name in names:
        wanted = train.inputs[name]
        seen = Seen(wanted, _values(train, some, name), rows)
        choice = CHOICES[wanted.kind](seen)
        given = encoders.get(name, {})
        given = {"name": given} if isinstance(given, str) else given
        own = (
            choice.encoder
            if given.get("name", choice.encoder["name"]) == choice.encoder["name"]
            and "checkpoint" not in given
            else {}
        )
        encoders[name] = {"kind": wanted.kind} | own | given
        usual = KINDS[wanted.kind].usual
        if choice.shape and not (usual and usual[0] in data):
            shapes.setdefault(name, choice.shape)
    data.setdefault("image_size", IMAGE_SIZE)
    data.setdefault("cut", True)
    data.setdefault("batch_size", int(np.clip(2 ** int(math.log2(max(rows // 16, 1))), 8, 64)))
    tree.setdefault("width", 64 if rows < SMALL else 128)
    fusion = {"name": "transformer", "layers": 1 if rows < SMALL else 2, "dropout": 0.1}
    _ask(tree, train)
    if "alignment" not in tree:
        tree.setdefault("fusion", fusion)
    if len(names) > 1 and "fusion" in tree:
        tree.setdefault("modality_dropout", 0.1)
    _train(tree, rows)
    return ConfigDict(tree)


def _values(split: TableSplit, positions: list[int], name: str) -> list[Any]:
    found = []
    for position in positions:
        try:
            value = split.values(position, (name,))[name]
        except UserError:
            continue  # it is counted when it is used
        found += [] if value is None else [value]
    return found


def _ask(tree: dict[str, Any], train: TableSplit) -> None:
    """The tasks of a tree, and what it watches."""
    if "task" in tree or "tasks" in tree:
        return
    watched = tree.setdefault("train", {})
    if not train.targets:
        if len(tree["modalities"]) < 2:
            raise UserError(f"{train.name}: {NO_ALIGNMENT}")
        tree |= {"task": "alignment", "alignment": {"embedding": 64}}
        tree |= {"losses": {"info_nce": {"temperature": "temperature"}}, "metrics": ("retrieval",)}
        watched.setdefault("monitor", "val/recall_at_10")
        watched.setdefault("mode", "max")
        return
    several = len(train.targets) > 1
    tasks = {}
    for name, target in train.targets.items():
        spec = task_of(target)
        (metric, mode), kind = spec.pop("monitor"), spec.pop("name")
        tasks[name] = {"name": kind, "target": name, **spec}
        key = f"val/{name}/{metric}" if several else f"val/{metric}"
        watched.setdefault("monitor", key)
        watched.setdefault("mode", mode)
    if several:
        tree["tasks"] = tasks
    else:
        (spec,) = tasks.values()
        tree |= {"task": spec.pop("name"), **spec}


def _train(tree: dict[str, Any], rows: int) -> None:
    train, optimizer = tree["train"], tree.setdefault("optimizer", {})
    epochs = 40 if rows < SMALL else 15 if rows < LARGE else 4
    steps = train.setdefault("steps", max(200, epochs * rows // tree["data"]["batch_size"]))
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
        optimizer.setdefault("options", {"weight_decay": 0.05})


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
