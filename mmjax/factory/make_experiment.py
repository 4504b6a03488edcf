"""Config -> the whole experiment."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmjax import cli
from mmjax.data.own import stored
from mmjax.data.pipeline import loader, resampling, scaling, tokenizer
from mmjax.data.sources.targets import CATEGORY
from mmjax.errors import UserError
from mmjax.factory import parallel, rehearsal
from mmjax.factory.baselines import asked_of, linear_scores
from mmjax.factory.checkpoints import begin, delta, joint, pretrained
from mmjax.factory.config.asked import asked
from mmjax.factory.config.check import checked
from mmjax.factory.config.stored import completed
from mmjax.factory.config.typed import plain
from mmjax.factory.make_model import example_inputs, kind_of, modalities, texts
from mmjax.factory.make_readers import make_readers, text_encoders
from mmjax.factory.make_tasks import Questions, check_outputs, tasks, with_targets
from mmjax.factory.make_training import make_augment, make_optimizer, make_schedule
from mmjax.factory.make_weighting import task_weights
from mmjax.factory.minutes import with_stored_steps, within_minutes
from mmjax.factory.splits import Made, Split, handling, named
from mmjax.factory.tables.names import DATASETS, construct, entry, options_of
from mmjax.factory.tuning import model, trains
from mmjax.train import sharding
from mmjax.train.checkpoints import workdir
from mmjax.train.experiment import Baselines, Experiment

Scales = Mapping[str, scaling.Scale]
# Keys of config.data that a data set gets where it has an option of that name.
OF_DATA = ("cache", "columns", "dir", "files", "image_size", "target")


def sources(config: ConfigDict, files: Any = None) -> dict[str, Any]:
    """The splits of the data set; `files` are in place of config.data.files, if there are any."""
    c = config.data
    known = options_of(entry(DATASETS, c.name, "config.data.name"))
    given = {name: plain(c[name]) for name in OF_DATA if name in c}
    given |= {} if files is None else {"files": files}
    if "dir" in known and given.get("dir"):
        cli.make_directory(c.dir, "--config.data.dir")
    spec = ConfigDict({"name": c.name, **c.options})
    return construct(DATASETS, spec, "config.data.options", seed=config.seed, **given)


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


def feature_scales(config: ConfigDict, directory: Path, train: Split) -> Scales:
    """The scales of the vectors and series of the training split, measured at the first start.

    None with config.data.scale_features=False, or if the run began without any.
    """
    path = directory / workdir.SCALES_FILE
    if workdir.has_checkpoints(directory):
        return scaling.read(path)
    path.unlink(missing_ok=True)
    found = handling(train).scales(config, train) if config.data.scale_features else {}
    if found:
        scaling.write(path, found)
    return found


def keep_columns(directory: Path, train: Split) -> None:
    """Stores the columns of a table at the first start; later they must be the same.

    Raises:
        UserError: what is stored is damaged, or the data have changed.
    """
    path, found = directory / workdir.COLUMNS_FILE, handling(train).columns(train)
    if workdir.has_checkpoints(directory):
        if found is not None:
            before = stored.from_json(workdir.read_json(path), str(path))
            stored.check_same(before, found, str(path))
        return
    path.unlink(missing_ok=True)
    if found is not None:
        workdir.write_json(path, stored.to_json(found))


def drawn_as(config: ConfigDict, train: Split, questions: Questions) -> np.ndarray | None:
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
    examples = handling(train).size(train)[1]
    one_each = target is not None and target.type == CATEGORY and target.mask is None
    one_each = one_each and name not in questions.slices
    if several or not one_each or len(target.values) != examples:
        raise UserError(
            f"config.data.resample={rule!r}: a row must have one label; for questions, set"
            " config.data.questions_per_image=0; for several labels, weigh them in config.losses"
        )
    return resampling.draw_probabilities(resampling.row_labels(train, target), rule)


def experiment(
    config: ConfigDict,
    directory: str,
    *,
    only_test: bool = False,
    data: Mapping[str, Any] | None = None,
) -> tuple[Path, Experiment]:
    """Claims the workdir and builds all that a run in it needs.

    Args:
        config: see `checked`.
        directory: the workdir.
        only_test: leaves the config of the workdir as it is.
        data: the splits of the data set, where they are there already.

    Raises:
        UserError: whatever is wrong with the config, the workdir or the data.
    """
    config = with_stored_steps(checked(config), directory)
    c = config.data
    tasks(config)  # what it names is checked before any data are prepared
    parallel.check(config)
    task_weights(config)
    rows = leading_sizes(config)
    mesh = sharding.make_mesh(**config.mesh, rows=rows)
    path = Path(directory).expanduser().absolute()
    changed = workdir.differences(directory, config.to_dict(), completed)
    begin.check_source(config, path)
    if not changed and not only_test:
        workdir.open_workdir(directory, config.to_dict(), completed)
    found = sources(config) if data is None else data
    given = {split: named(config, rows) for split, rows in found.items()}
    for split in given.values():
        handling(split).check(config, split)
    keep_columns(path, given["train"])
    splits, questions = with_targets(config, path, given)
    kept = pretrained.checkpoints(config, path)
    if all(task.type.model == "aligned" for task in asked(config).values()):
        joint.warn_of_separate_parts(config, kept)
    train, known = splits["train"], handling(splits["train"])
    names = known.strings(train, texts(config))
    encode, vocabulary_size = text_encoders(
        config, kept, lambda: make_tokenizer(path, known.texts(train, names)), names
    )
    slices = train.slices
    scales = feature_scales(config, path, train)
    made = Made(encode, scales, make_readers(config, encode, scales, kept))
    built_tasks, among = tasks(config, questions), task_weights(config, questions)
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

    slices = slices if len(slices) > 1 else ()  # a single one is the whole set again

    def examples(split: str) -> Any:
        rows, names = splits[split], modalities(config)
        return handling(rows).examples(config, rows, names, made, split == "train")

    for split in ("validation", "test"):
        first = rehearsal.sample(examples(split))
    outputs = rehearsal.check_names(
        config,
        model=built_model,
        tasks=built_tasks,
        example=example,
        batch=first,
        classes=classes,
        slices=slices,
    )
    check_outputs(config, outputs, questions)
    parallel.check_outputs(config, outputs)

    def train_data() -> Any:
        return loader.train_iterator(
            examples("train"),
            reading,
            seed=config.seed,
            probabilities=drawn_as(config, splits["train"], questions),
        )

    def eval_data(split: str) -> Any:
        return loader.eval_batches(examples(split), reading)

    def baselines() -> dict[str, Baselines]:
        kinds = {name: kind_of(config, name) for name in modalities(config)}
        of = {"kinds": kinds, "targets": asked_of(questions)}
        train, rows = train_data(), known.size(splits["train"])[1]
        try:
            return linear_scores(train, eval_data("test"), rows=rows, **of)
        finally:
            train.close()

    notes = begin.notes_on(config, path, changed)
    if changed and not only_test:  # now that nothing is wrong with it
        workdir.open_workdir(directory, config.to_dict(), completed)
    found = Experiment(
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
        feature_loss=among.feature_loss,
        augment=make_augment(config),
        ema_decay=config.optimizer.ema,
        seed=config.seed,
        train_data=train_data,
        eval_data=eval_data,
        sizes={name: handling(split).size(split) for name, split in splits.items()},
        slices=slices,
        trains=functools.partial(trains, config),
        base=functools.partial(delta.base, config, path),
        mesh=mesh,
        parallel=config.parallel,
        schedule=make_schedule(config),
        keep=config.train.keep,
        baselines=baselines if config.train.baselines else None,
        notes=notes,
    )
    if config.train.minutes and not only_test and not workdir.has_checkpoints(path):
        kept = -(-known.size(train)[0] // rows[0]) if known.keeps(train) else 0
        config = within_minutes(config, found, path, kept)
        workdir.open_workdir(directory, config.to_dict(), completed)
        make = functools.partial(make_optimizer, config)
        found = dataclasses.replace(found, make_optimizer=make, schedule=make_schedule(config))
    return path, found
