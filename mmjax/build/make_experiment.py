"""Config -> the whole experiment."""

import functools
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from mmjax.build.make_model import example_inputs, modalities, model, task
from mmjax.build.make_training import make_augment, make_optimizer, make_schedule
from mmjax.build.tables import DATASETS, lookup, options_of
from mmjax.data import pipeline, tokenizer
from mmjax.data.arrays import ArrayExamples, Arrays
from mmjax.data.examples import QuestionExamples
from mmjax.data.source import Source, questions
from mmjax.train import sharding, workdir
from mmjax.train.experiment import Experiment

FLAT_EVALUATION = 10  # questions an image when training has one; only memory and speed depend on it


def sources(config: ConfigDict) -> dict[str, Any]:
    """The splits of the data set."""
    c = config.data
    constructor = lookup(DATASETS, c.name, "config.data.name")
    known = options_of(constructor)
    for key in c.options:
        lookup(known, key, f"config.data.options ({c.name})")
    names = ("dir", "cache", "image_size")
    given = {"seed": config.seed} | {name: c[name] for name in names if name in c}
    return constructor(**{k: v for k, v in given.items() if k in known}, **c.options)


def make_tokenizer(directory: Path, train: Source) -> Any:
    """The tokenizer of the workdir, trained on the training questions at the first start."""
    path = directory / workdir.TOKENIZER_FILE
    if not (path.exists() and workdir.has_checkpoints(directory)):
        texts = [text for record in questions(train) for text in record]
        tokenizer.save(tokenizer.train(texts), path)
    return tokenizer.load(path)


def leading_sizes(config: ConfigDict) -> tuple[int, ...]:
    """The leading dimensions of a batch's arrays: its rows, and its examples."""
    c = config.data
    if "batch_size" in c:
        return (c.batch_size,)
    return c.images_per_batch, c.images_per_batch * max(c.questions_per_image, 1)


def make_examples(config: ConfigDict, split: Arrays | Source, encode: Any, *, train: bool) -> Any:
    """What makes the rows and batches of a split."""
    names = modalities(config)
    if isinstance(split, Arrays):
        return ArrayExamples(split, names)
    count = config.data.questions_per_image or (0 if train else FLAT_EVALUATION)
    return QuestionExamples(split, names, count, encode)


def size_of(split: Arrays | Source) -> tuple[int, int]:
    """Number of records and of examples of a split."""
    if isinstance(split, Arrays):
        return len(split), len(split)
    return len(split.records), sum(map(len, questions(split)))


def experiment(config: ConfigDict, directory: str) -> tuple[Path, Experiment]:
    """Claims the workdir and builds all that a run in it needs.

    Raises:
        UserError: whatever is wrong with the config, the workdir or the data.
    """
    c = config.data
    built_task = task(config)
    rows = leading_sizes(config)
    mesh = sharding.make_mesh(**config.mesh, rows=rows)
    path = workdir.claim(directory, config.to_dict())
    splits = sources(config)
    vocabulary_size, encode = 0, None
    if "text" in modalities(config) and isinstance(splits["train"], Source):
        words = make_tokenizer(path, splits["train"])
        vocabulary_size = words.get_vocab_size()
        encode = functools.partial(tokenizer.encode, words, length=c.text_length)
    classes = splits["train"].answers
    workdir.write_json(path / workdir.LABELS_FILE, list(classes))
    reading = pipeline.Reading(
        batch_rows=rows[0] // jax.process_count(),
        workers=c.workers,
        threads=c.threads,
        prefetch=c.prefetch,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )

    def train_data() -> Any:
        examples = make_examples(config, splits["train"], encode, train=True)
        return pipeline.train_iterator(examples, reading, seed=config.seed)

    def eval_data(split: str) -> Any:
        examples = make_examples(config, splits[split], encode, train=False)
        return pipeline.eval_batches(examples, reading)

    return path, Experiment(
        model=model(config, classes=len(classes), vocabulary_size=vocabulary_size),
        task=built_task,
        example=example_inputs(config),
        make_optimizer=functools.partial(make_optimizer, config),
        weights={name: spec.get("weight", 1.0) for name, spec in config.losses.items()},
        metrics=tuple(config.metrics),
        augment=make_augment(config),
        ema_decay=config.optimizer.ema,
        seed=config.seed,
        train_data=train_data,
        eval_data=eval_data,
        sizes={name: size_of(split) for name, split in splits.items()},
        classes=classes,
        groups=splits["train"].groups,
        mesh=mesh,
        schedule=make_schedule(config),
        keep=config.train.keep,
    )
