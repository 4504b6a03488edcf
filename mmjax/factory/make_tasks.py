"""Config -> the tasks, and the targets that they are asked for."""

import dataclasses
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmjax.data.pipeline import resampling
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError, decoding
from mmjax.factory.bind import Counts, bind, entries
from mmjax.factory.checkpoints import joint
from mmjax.factory.config.asked import Asked, asked
from mmjax.factory.make_model import read_by
from mmjax.factory.splits import handling
from mmjax.factory.tables.losses import LOSSES
from mmjax.factory.tables.metrics import DATASET_METRICS, METRICS, ROW_METRICS
from mmjax.factory.tables.names import entry, is_path, lookup
from mmjax.tasks.keyed import KeyedFunction
from mmjax.tasks.task import Question, Task, check_type, of_slice
from mmjax.train.checkpoints import workdir

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Questions:
    """What is known of the tasks of a run by its data.

    names: of the target of each task; "" for one that needs none, in data without any.
    vocabularies: what its values stand for: class names, characters, a scale.
    counts: of the examples of each class in the training split, where there are classes.
    given: the targets as the data set has them, by split and task.
    slices: the number of the only slice whose examples a task is asked of, if it says one.
    """

    names: Mapping[str, str]
    vocabularies: Mapping[str, Sequence[Any]]
    counts: Mapping[str, Counts]
    given: Mapping[str, Mapping[str, Target]]
    slices: Mapping[str, int] = dataclasses.field(default_factory=dict)


def tasks(
    config: ConfigDict,
    questions: Questions | None = None,
    vocabularies: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Task]:
    """The tasks by name, with the losses and metrics that the config names.

    Args:
        config: of the run.
        questions: what its data say; None where losses are not computed, as for predictions.
        vocabularies: what the values of each task stand for, without data.
    """
    return {
        name: _task(config, name, task, questions, vocabularies)
        for name, task in asked(config).items()
    }


def _task(
    config: ConfigDict,
    name: str,
    task: Asked,
    questions: Questions | None,
    vocabularies: Mapping[str, Any],
) -> Task:
    inputs = read_by(config, task)
    target = task.get("target") or name
    counts = None
    if questions is not None:
        target, counts = questions.names[name], questions.counts.get(name)
        vocabularies = questions.vocabularies

    def bound(table: Mapping[str, Callable], part: Any, where: str) -> dict[str, KeyedFunction]:
        return bind(
            table,
            part,
            where,
            modalities=inputs,
            space=task.type.space,
            counts=counts,
            reads_of_task=(task.type.given(name, target), task.type.reads),
        )

    where = f"{task.where}.metrics"
    losses = entries(task.get("losses"), f"{task.where}.losses")
    learned = ConfigDict(joint.losses(config, losses))
    wanted = entries(task.get("metrics"), where)
    for label, options in wanted.items():
        entry(METRICS, options.get("name", label), where)

    def those_of(table: Mapping[str, Callable]) -> ConfigDict:
        # What a user adds is of the whole set: numpy arrays in, a number or numbers by name out.
        others = table is DATASET_METRICS
        names = {k: s.get("name", k) for k, s in wanted.items()}
        return ConfigDict(
            {k: wanted[k] for k, n in names.items() if n in table or (others and is_path(n))}
        )

    question = Question(
        name=name,
        target=target,
        modalities=inputs,
        losses=bound(LOSSES, learned, f"{task.where}.losses"),
        metrics=bound(ROW_METRICS, those_of(ROW_METRICS), where),
        dataset_metrics=bound(DATASET_METRICS, those_of(DATASET_METRICS), where),
        vocabulary=vocabularies.get(name) or (),
    )
    made = task.type.make(question)
    only = None if questions is None else questions.slices.get(name)
    return made if only is None else of_slice(made, only)


def with_targets(
    config: ConfigDict, path: Path, splits: Mapping[str, Any]
) -> tuple[dict[str, Any], Questions]:
    """The splits with the targets of the tasks as a batch has them, and what is known by them.

    What the values of a target stand for is stored in the workdir, and read again where anything
    was trained.

    Raises:
        UserError: a target that the data set lacks, that is an input, or of another type.
    """
    found = asked(config)
    stored = stored_vocabularies(path, found) if workdir.has_checkpoints(path) else {}
    made, questions, targets = _encoded(config, splits, stored)
    vocabularies = questions.vocabularies
    workdir.write_json(path / workdir.LABELS_FILE, workdir.for_file(vocabularies or {"": []}))
    counts = class_counts(path, targets, made, questions)
    return made, dataclasses.replace(questions, counts=counts)


def with_known_targets(config: ConfigDict, path: Path, split: Any) -> tuple[Any, Questions]:
    """As `with_targets` of a single split, by what a workdir has stored, which stays as it is."""
    stored = stored_vocabularies(path, asked(config))
    made, questions, targets = _encoded(config, {"train": split}, stored)
    names = [name for name, target in targets.items() if target is not None and target.classes]
    counts = stored_counts(path / workdir.COUNTS_FILE, names)
    return made["train"], dataclasses.replace(questions, counts=counts)


def _encoded(
    config: ConfigDict, splits: Mapping[str, Any], stored: Mapping[str, Any]
) -> tuple[dict[str, Any], Questions, dict[str, Target | None]]:
    """The splits with the targets as a batch has them, all but the counts of the questions, and the
    targets of the training split by task."""
    given = {split: handling(data).targets(data) for split, data in splits.items()}
    names, vocabularies, slices = {}, {}, {}
    chosen: dict[str, dict[str, Target]] = {split: {} for split in splits}
    encoded: dict[str, dict[str, Target]] = {split: {} for split in splits}
    for name, task in asked(config).items():
        known = given["train"]
        names[name] = _target_of(config, task, known, splits["train"])
        values = {s: targets[names[name]] for s, targets in given.items() if names[name]}
        if task.type.targets:
            where = f"{task.where}.target={names[name]!r} ({config.data.name})"
            check_type(values["train"].type, task.type.targets, where)
            values, vocabularies[name] = task.type.encode(values, stored.get(name))
        if task.get("slice"):
            known_slices = splits["train"].slices
            where = f"{task.where}.slice ({config.data.name})"
            lookup(dict.fromkeys(known_slices), task.get("slice"), where)
            slices[name] = known_slices.index(task.get("slice"))
        for split, target in values.items():
            encoded[split][names[name]] = target
            chosen[split][name] = given[split][names[name]]
    made = {
        split: handling(data).with_targets(data, encoded[split]) for split, data in splits.items()
    }
    train = {name: encoded["train"].get(target) for name, target in names.items()}
    return made, Questions(names, vocabularies, {}, chosen, slices), train


def _target_of(config: ConfigDict, task: Asked, known: Mapping[str, Target], data: Any) -> str:
    where, name = f"{task.where}.target", task.get("target")
    if not task.type.targets and not name:
        return next((n for n, target in known.items() if target.classes), "")
    fitting = [n for n, target in known.items() if target.type in task.type.targets]
    inputs = {*config.modalities, *config.data.get("columns", {}).values()}
    fitting = [n for n in fitting if n not in inputs]
    if not name and not fitting:
        raise UserError(
            f"{task.where}.task={task.kind!r}: {data.name} has no target that is"
            f" {' or '.join(task.type.targets)}; it has {', '.join(known) or 'none'}"
        )
    name = name or fitting[0]
    lookup(known, name, f"{where} ({config.data.name})")
    if name in inputs:
        raise UserError(f"{where}={name!r} is one of config.modalities: it would be read off")
    return name


def stored_vocabularies(path: Path, names: Collection[str]) -> dict[str, list]:
    """What a workdir has stored of what the values of each task stand for; {} if nothing."""
    file = path / workdir.LABELS_FILE
    if not file.exists():
        return {}
    with decoding(f"{file} is damaged", "restore it, or train anew"):
        stored = workdir.read_json(file)
        if len(names) > 1 and not isinstance(stored, dict):
            raise ValueError(f"{next(iter(names))} has no list of names")
        found = workdir.by_task(stored, list(names))
        for name, words in found.items():
            if not isinstance(words, list) or not all(isinstance(w, str | float) for w in words):
                raise ValueError(f"{name} has no list of names")
        return found


def class_counts(
    path: Path,
    targets: Mapping[str, Target | None],
    splits: Mapping[str, Any],
    questions: Questions,
) -> dict[str, Counts]:
    """Of each task with classes the examples of each in training, counted at the first start."""
    file = path / workdir.COUNTS_FILE
    names = [name for name, target in targets.items() if target is not None and target.classes]
    if not names:
        return {}
    if not (file.exists() and workdir.has_checkpoints(path)):
        train = splits["train"]
        found = {}
        for name in names:
            asked_here = None
            if name in questions.slices:
                ids = handling(train).slice_ids(train, questions.names[name])
                asked_here = ids == questions.slices[name]
            counts, examples = resampling.class_counts(train, targets[name], asked_here)
            found[name] = {"classes": counts.tolist(), "examples": examples}
        workdir.write_json(file, workdir.for_file(found))
    return stored_counts(file, names)


def stored_counts(file: Path, names: Sequence[str]) -> dict[str, Counts]:
    """Of each of some tasks with classes the examples of each in training, of a workdir's file."""
    if not names:
        return {}
    stored = workdir.read_json(file)
    with decoding(f"{file} is damaged", "delete it: it is made anew"):
        read = workdir.by_task(stored, names)
        made = {n: Counts(np.asarray(x["classes"]), int(x["examples"])) for n, x in read.items()}
        if any(c.classes.ndim != 1 or c.classes.dtype.kind not in "iuf" for c in made.values()):
            raise ValueError("its classes are no list of numbers")
        return made


def check_outputs(config: ConfigDict, outputs: Mapping[str, Any], questions: Questions) -> None:
    """Warns of what the model cannot give a task, or raises a UserError; see TaskType.check."""
    for name, task in asked(config).items():
        given = {split: found[name] for split, found in questions.given.items() if name in found}
        for line in task.type.check(outputs, given, name):
            _logger.warning("%s", line)
