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
from mmjax.data.source import Source, questions
from mmjax.train import sharding, workdir
from mmjax.train.experiment import Experiment

FLAT_EVALUATION = 10  # questions an image when training has one; only memory and speed depend on it


def sources(config: ConfigDict) -> dict[str, Source]:
    """The splits of the data set."""
    c = config.data
    constructor = lookup(DATASETS, c.name, "config.data.name")
    known = options_of(constructor)
    for key in c.options:
        lookup(known, key, f"config.data.options ({c.name})")
    given = {"dir": c.dir, "seed": config.seed, "cache": c.cache, "image_size": c.image_size}
    return constructor(**{k: v for k, v in given.items() if k in known}, **c.options)


def make_tokenizer(directory: Path, train: Source) -> Any:
    """The tokenizer of the workdir, trained on the training questions at the first start."""
    path = directory / workdir.TOKENIZER_FILE
    if not (path.exists() and workdir.has_checkpoints(directory)):
        texts = [text for record in questions(train) for text in record]
        tokenizer.save(tokenizer.train(texts), path)
    return tokenizer.load(path)


def experiment(config: ConfigDict, directory: str) -> tuple[Path, Experiment]:
    """Claims the workdir and builds all that a run in it needs.

    Raises:
        UserError: whatever is wrong with the config, the workdir or the data.
    """
    c = config.data
    names = modalities(config)
    built_task = task(config)
    rows = (c.images_per_batch, c.images_per_batch * max(c.questions_per_image, 1))
    mesh = sharding.make_mesh(**config.mesh, rows=rows)
    path = workdir.claim(directory, config.to_dict())
    splits = sources(config)
    vocabulary_size, encode = 0, None
    if "text" in names:
        words = make_tokenizer(path, splits["train"])
        vocabulary_size = words.get_vocab_size()
        encode = functools.partial(tokenizer.encode, words, length=c.text_length)
    classes = splits["train"].answers
    workdir.write_json(path / workdir.LABELS_FILE, list(classes))

    common = {
        "batch_images": c.images_per_batch // jax.process_count(),
        "encode": encode,
        "modalities": names,
        "workers": c.workers,
        "threads": c.threads,
        "prefetch": c.prefetch,
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
    }

    def train_data() -> Any:
        return pipeline.train_iterator(
            splits["train"], questions_per_image=c.questions_per_image, seed=config.seed, **common
        )

    def eval_data(split: str) -> Any:
        count = c.questions_per_image or FLAT_EVALUATION
        return pipeline.eval_batches(splits[split], questions_per_image=count, **common)

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
        sizes={
            name: (len(split.records), sum(map(len, questions(split))))
            for name, split in splits.items()
        },
        classes=classes,
        groups=splits["train"].groups,
        mesh=mesh,
        schedule=make_schedule(config),
        keep=config.train.keep,
    )
