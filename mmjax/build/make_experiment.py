"""Config -> the whole experiment."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmjax.build import frozen_base, pretrained, transcripts
from mmjax.build.bind import Counts, weights
from mmjax.build.make_model import example_inputs, modalities, task
from mmjax.build.make_training import make_augment, make_optimizer, make_schedule
from mmjax.build.tables import DATASETS, lookup, options_of
from mmjax.build.tuning import model, trains
from mmjax.data import pipeline, resampling, tokenizer
from mmjax.data.arrays import ArrayExamples, Arrays
from mmjax.data.examples import QuestionExamples
from mmjax.data.source import Source, questions
from mmjax.train import sharding, workdir
from mmjax.train.experiment import Experiment
from mmjax.types import UserError, decoding

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


def texts_of(train: Arrays | Source) -> list[str]:
    """All texts of the training split; [] if it has none."""
    groups = train.texts.values() if isinstance(train, Arrays) else questions(train)
    return [text for texts in groups for text in texts]


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


def make_examples(config: ConfigDict, split: Arrays | Source, encode: Any, *, train: bool) -> Any:
    """What makes the rows and batches of a split."""
    names = modalities(config)
    if config.task == transcripts.TASK:
        names = (*names, transcripts.TRANSCRIPT)
    if isinstance(split, Arrays):
        return ArrayExamples(split, names, encode)
    count = config.data.questions_per_image or (0 if train else FLAT_EVALUATION)
    return QuestionExamples(split, names, count, encode)


def size_of(split: Arrays | Source) -> tuple[int, int]:
    """Number of records and of examples of a split."""
    if isinstance(split, Arrays):
        return len(split), len(split)
    return len(split.records), sum(map(len, questions(split)))


def class_counts(directory: Path, train: Arrays | Source) -> Counts:
    """The examples of each class in the training split, counted at the first start."""
    path = directory / workdir.COUNTS_FILE
    if not (path.exists() and workdir.has_checkpoints(directory)):
        counts = resampling.class_counts(train).tolist()
        workdir.write_json(path, {"classes": counts, "examples": size_of(train)[1]})
    stored = workdir.read_json(path)
    with decoding(f"{path} is damaged", "delete it: it is made anew"):
        counts = Counts(np.asarray(stored["classes"]), int(stored["examples"]))
        if counts.classes.ndim != 1 or counts.classes.dtype.kind not in "iuf":
            raise ValueError("its classes are no list of numbers")
        return counts


def drawn_as(config: ConfigDict, train: Arrays | Source) -> np.ndarray | None:
    """The probability of each row of training that `config.data.resample` asks for.

    Raises:
        UserError: rows have several labels, or the rule is unknown.
    """
    rule = config.data.get("resample", "")
    if not rule:
        return None
    if config.data.get("questions_per_image", 0) or config.task == "multilabel":
        raise UserError(
            f"config.data.resample={rule!r}: a row must have one label; for questions, set"
            " config.data.questions_per_image=0; for several labels, weigh them in config.losses"
        )
    return resampling.draw_probabilities(resampling.row_labels(train), rule)


def experiment(config: ConfigDict, directory: str) -> tuple[Path, Experiment]:
    """Claims the workdir and builds all that a run in it needs.

    Raises:
        UserError: whatever is wrong with the config, the workdir or the data.
    """
    c = config.data
    task(config)  # what it names is checked before any data are prepared
    loss_weights = weights(config)
    rows = leading_sizes(config)
    mesh = sharding.make_mesh(**config.mesh, rows=rows)
    path = workdir.claim(directory, config.to_dict())
    given = splits = sources(config)
    alphabet: tuple[str, ...] = ()
    if config.task == transcripts.TASK:
        splits, alphabet = transcripts.targets(config, path, given)
    vocabulary_size, encode = 0, None
    texts = texts_of(splits["train"]) if "text" in modalities(config) else []
    kept = pretrained.checkpoints(config, path)
    if texts and "text" in kept:
        encode = pretrained.encode_texts(kept["text"], c.text_length)
    elif texts:
        words = make_tokenizer(path, texts)
        vocabulary_size = words.get_vocab_size()
        encode = functools.partial(tokenizer.encode, words, length=c.text_length)
    classes, groups = alphabet or splits["train"].answers, splits["train"].groups
    workdir.write_json(path / workdir.LABELS_FILE, list(classes))
    counts = class_counts(path, splits["train"])
    built_task = task(config, counts=counts, alphabet=alphabet)
    built_model = model(
        config, classes=len(classes), vocabulary_size=vocabulary_size, checkpoints=kept
    )
    example = example_inputs(config)
    if alphabet:
        transcripts.check_tokens(built_model, example, given, config.data.transcript)
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
        return pipeline.train_iterator(
            examples, reading, seed=config.seed, probabilities=drawn_as(config, splits["train"])
        )

    def eval_data(split: str) -> Any:
        examples = make_examples(config, splits[split], encode, train=False)
        return pipeline.eval_batches(examples, reading)

    return path, Experiment(
        model=built_model,
        first_variables=functools.partial(frozen_base.first_variables, config, path),
        task=built_task,
        example=example,
        make_optimizer=functools.partial(make_optimizer, config),
        weights=loss_weights,
        augment=make_augment(config),
        ema_decay=config.optimizer.ema,
        seed=config.seed,
        train_data=train_data,
        eval_data=eval_data,
        sizes={name: size_of(split) for name, split in splits.items()},
        classes=classes,
        groups=groups if len(groups) > 1 else (),  # a single one is the whole set again
        trains=functools.partial(trains, config),
        base=functools.partial(frozen_base.base, config, path),
        mesh=mesh,
        schedule=make_schedule(config),
        keep=config.train.keep,
    )
