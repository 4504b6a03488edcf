"""Config -> the whole experiment."""

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmjax import cli
from mmjax.data.pipeline import loader, resampling, scaling, tokenizer
from mmjax.data.pipeline.checks import check_shape
from mmjax.data.pipeline.examples import QuestionExamples
from mmjax.data.sources.arrays import ArrayExamples, Arrays
from mmjax.data.sources.source import Source
from mmjax.data.sources.source import questions as questions_of
from mmjax.data.sources.targets import CATEGORY
from mmjax.errors import UserError
from mmjax.factory import rehearsal
from mmjax.factory.checkpoints import begin, frozen_base, joint, pretrained
from mmjax.factory.config.asked import asked
from mmjax.factory.config.check import checked
from mmjax.factory.config.stored import completed
from mmjax.factory.make_model import example_inputs, kind_of, modalities, texts
from mmjax.factory.make_readers import text_encoders
from mmjax.factory.make_tasks import Questions, check_outputs, tasks, with_targets
from mmjax.factory.make_training import make_augment, make_optimizer, make_schedule
from mmjax.factory.make_weighting import task_weights
from mmjax.factory.tables.kinds import KINDS
from mmjax.factory.tables.names import DATASETS, construct, entry, options_of
from mmjax.factory.tuning import model, trains
from mmjax.train import sharding
from mmjax.train.checkpoints import workdir
from mmjax.train.experiment import Experiment

Scales = Mapping[str, scaling.Scale]
FLAT_EVALUATION = 10  # questions an image when training has one; only memory and speed depend on it


def sources(config: ConfigDict) -> dict[str, Any]:
    """The splits of the data set."""
    c = config.data
    known = options_of(entry(DATASETS, c.name, "config.data.name"))
    given = {name: c[name] for name in ("dir", "cache", "image_size") if name in c}
    if "dir" in known and given.get("dir"):
        cli.make_directory(c.dir, "--config.data.dir")
    spec = ConfigDict({"name": c.name, **c.options})
    return construct(DATASETS, spec, "config.data.options", seed=config.seed, **given)


def columns(config: ConfigDict) -> dict[str, str]:
    """What of the data set each modality with another name reads."""
    given = config.data.get("columns", {})
    return {name: given[name] for name in config.modalities if name in given}


def named(config: ConfigDict, split: Arrays | Source) -> Arrays | Source:
    """A split with the modalities' names in place of its columns'."""
    if isinstance(split, Source):
        return dataclasses.replace(split, columns=columns(config))
    return split.renamed(columns(config))


def texts_of(train: Arrays | Source, names: Collection[str]) -> list[str]:
    """All texts of the training split that these modalities read."""
    if isinstance(train, Arrays):
        groups = [train.texts[name] for name in dict.fromkeys(names)]
    else:
        groups = questions_of(train) if names else []
    return [text for texts in groups for text in texts]


def texts_in(train: Arrays | Source, names: Collection[str]) -> list[str]:
    """Those of some modalities that the training split has as strings."""
    if isinstance(train, Arrays):
        return [name for name in names if name in train.texts]
    return list(names)


def make_tokenizer(directory: Path, texts: Sequence[str]) -> Any:
    """The tokenizer of the workdir, trained on the training texts at the first start."""
    path = directory / workdir.TOKENIZER_FILE
    if not (path.exists() and workdir.has_checkpoints(directory)):
        tokenizer.save(tokenizer.train(texts), path)
    return tokenizer.load(path)


def leading_sizes(config: ConfigDict) -> tuple[int, ...]:
    """The leading dimensions of a batch's arrays: its rows, and its examples."""
    c = config.data
    if "batch_size" in c:
        return (c.batch_size,)
    return c.images_per_batch, c.images_per_batch * max(c.questions_per_image, 1)


def make_examples(
    config: ConfigDict, split: Arrays | Source, encode: Any, scales: Scales, *, train: bool
) -> Any:
    """What makes the rows and batches of a split."""
    names = modalities(config)
    if isinstance(split, Arrays):
        return ArrayExamples(split, names, encode, scales)
    count = config.data.questions_per_image or (0 if train else FLAT_EVALUATION)
    return QuestionExamples(split, names, count, encode)


def check_fits(config: ConfigDict, split: Arrays | Source) -> None:
    """Raises a UserError where the model does not take the values of a split."""
    example = example_inputs(config)
    for name in modalities(config):
        if isinstance(split, Arrays) and name in split.values:
            check_shape(split.name, name, split.values[name], split.masks[name], example[name])
        is_image = isinstance(split, Source) and split.column(name) == "image"
        if is_image and len(split.records):
            found = QuestionExamples(split, (name,), 0, {}).image_shape
            wanted = example[name].value.shape[1:]
            if found != wanted:
                raise UserError(
                    f"{split.name}: images have shape {list(found)}, the config says"
                    f" {list(wanted)}: set config.data.image_size"
                )


def feature_scales(config: ConfigDict, directory: Path, train: Arrays | Source) -> Scales:
    """The scales of the vectors and series of the training split, measured at the first start.

    None with config.data.scale_features=False, or if the run began without any.
    """
    path = directory / workdir.SCALES_FILE
    if workdir.has_checkpoints(directory):
        return scaling.read(path)
    path.unlink(missing_ok=True)
    if not config.data.scale_features or not isinstance(train, Arrays):
        return {}
    found = {}
    for name in modalities(config):
        kind = KINDS[kind_of(config, name)]
        if kind.scaled and name in train.values:
            used = train.index.get(name, np.arange(len(train)))
            used = np.unique(used[~train.absent[name]] if name in train.absent else used)
            values, mask = train.values[name], train.masks[name]
            if len(used) < len(values):
                values, mask = values[used], mask[used]
            axes = values.ndim - 1 - kind.step_axes
            found[name] = scaling.measure(values, mask, axes)
    if found:
        scaling.write(path, found)
    return found


def size_of(split: Arrays | Source) -> tuple[int, int]:
    """Number of records and of examples of a split."""
    if isinstance(split, Arrays):
        return len(split), len(split)
    return len(split.records), sum(map(len, questions_of(split)))


def drawn_as(config: ConfigDict, train: Arrays | Source, questions: Questions) -> np.ndarray | None:
    """The probability of each row of training that `config.data.resample` asks for.

    It is that of the first task.

    Raises:
        UserError: rows have not one class each, or the rule is unknown.
    """
    rule, name = config.data.get("resample", ""), next(iter(questions.names))
    if not rule:
        return None
    target = questions.given["train"].get(name)
    several = config.data.get("questions_per_image", 0)
    if several or target is None or target.type != CATEGORY or target.mask is not None:
        raise UserError(
            f"config.data.resample={rule!r}: a row must have one label; for questions, set"
            " config.data.questions_per_image=0; for several labels, weigh them in config.losses"
        )
    return resampling.draw_probabilities(resampling.row_labels(train, target), rule)


def experiment(
    config: ConfigDict, directory: str, *, only_test: bool = False
) -> tuple[Path, Experiment]:
    """Claims the workdir and builds all that a run in it needs.

    Args:
        config: see `checked`.
        directory: the workdir.
        only_test: leaves the config of the workdir as it is.

    Raises:
        UserError: whatever is wrong with the config, the workdir or the data.
    """
    config = checked(config)
    c = config.data
    tasks(config)  # what it names is checked before any data are prepared
    among = task_weights(config)
    rows = leading_sizes(config)
    mesh = sharding.make_mesh(**config.mesh, rows=rows)
    path = Path(directory).expanduser().absolute()
    changed = workdir.differences(directory, config.to_dict(), completed)
    begin.check_source(config, path)
    if not changed and not only_test:
        workdir.claim(directory, config.to_dict(), completed)
    given = {split: named(config, data) for split, data in sources(config).items()}
    for split in given.values():
        check_fits(config, split)
    splits, questions = with_targets(config, path, given)
    kept = pretrained.checkpoints(config, path)
    if all(task.type.model == "aligned" for task in asked(config).values()):
        joint.warn_of_halves(config, kept)
    train, names = splits["train"], texts_in(splits["train"], texts(config))
    encode, vocabulary_size = text_encoders(
        config, kept, lambda: make_tokenizer(path, texts_of(train, names)), names
    )
    groups = splits["train"].groups
    scales = feature_scales(config, path, splits["train"])
    built_tasks = tasks(config, questions)
    make = functools.partial(model, config, checkpoints=kept)
    classes = {name: len(words) for name, words in questions.vocabularies.items()}
    built_model = make(classes=classes, vocabulary_size=vocabulary_size)
    example = example_inputs(config)
    reading = loader.Reading(
        batch_rows=rows[0] // jax.process_count(),
        workers=c.workers,
        threads=c.threads,
        prefetch=c.prefetch,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )

    groups = groups if len(groups) > 1 else ()  # a single one is the whole set again
    for split in ("validation", "test"):
        first = rehearsal.sample(make_examples(config, splits[split], encode, scales, train=False))
    outputs = rehearsal.check_names(
        config,
        model=built_model,
        tasks=built_tasks,
        example=example,
        batch=first,
        classes=classes,
        groups=groups,
    )
    check_outputs(config, outputs, questions)

    def train_data() -> Any:
        examples = make_examples(config, splits["train"], encode, scales, train=True)
        return loader.train_iterator(
            examples,
            reading,
            seed=config.seed,
            probabilities=drawn_as(config, splits["train"], questions),
        )

    def eval_data(split: str) -> Any:
        examples = make_examples(config, splits[split], encode, scales, train=False)
        return loader.eval_batches(examples, reading)

    notes = begin.notes_on(config, path, changed)
    if changed and not only_test:  # now that nothing is wrong with it
        workdir.claim(directory, config.to_dict(), completed)
    return path, Experiment(
        model=built_model,
        first_variables=functools.partial(
            begin.first_variables, config, path, make, example, vocabulary_size > 0
        ),
        tasks=built_tasks,
        example=example,
        make_optimizer=functools.partial(make_optimizer, config),
        weights=among.of_losses,
        weighting=among.weighting,
        aggregator=among.aggregator,
        one_by_one=among.one_by_one,
        modulator=among.modulator,
        alone=among.alone,
        augment=make_augment(config),
        ema_decay=config.optimizer.ema,
        seed=config.seed,
        train_data=train_data,
        eval_data=eval_data,
        sizes={name: size_of(split) for name, split in splits.items()},
        groups=groups,
        trains=functools.partial(trains, config),
        base=functools.partial(frozen_base.base, config, path),
        mesh=mesh,
        schedule=make_schedule(config),
        keep=config.train.keep,
        notes=notes,
    )
