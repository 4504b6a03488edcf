"""Config -> objects: the tables of all that a config may name, and what makes an experiment of it.

To add an encoder, a fusion, a loss, a metric, a task, a data set or an optimizer: write its file,
and add its line to one of these tables.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmjax import cli
from mmjax.data import pipeline, shapes, tokenizer
from mmjax.data.easy_vqa.sources import easy_vqa
from mmjax.data.source import Source, questions
from mmjax.encoders.image.cnn import Cnn
from mmjax.encoders.image.vit import Vit
from mmjax.encoders.text.bag_of_words import BagOfWords
from mmjax.encoders.text.lstm import TextLstm
from mmjax.encoders.text.transformer import TextTransformer
from mmjax.fusion.concat import ConcatFusion
from mmjax.fusion.multiply import MultiplyFusion
from mmjax.fusion.transformer import TransformerFusion
from mmjax.losses import classification as classification_losses
from mmjax.metrics import classification as classification_metrics
from mmjax.models.fused import FusedModel
from mmjax.models.heads import ClassificationHead
from mmjax.tasks.classification import classification
from mmjax.tasks.task import Task
from mmjax.train import augment, loop, optimizer, sharding, workdir
from mmjax.train.experiment import Experiment
from mmjax.types import Input, UserError

ENCODERS = {
    "image": {"cnn": Cnn, "vit": Vit},
    "text": {"bag_of_words": BagOfWords, "lstm": TextLstm, "transformer": TextTransformer},
}
FUSIONS = {"concat": ConcatFusion, "multiply": MultiplyFusion, "transformer": TransformerFusion}
LOSSES = {"cross_entropy": classification_losses.cross_entropy}
METRICS = {"accuracy": classification_metrics.accuracy}
TASKS = {"classification": classification}
DATASETS = {"easy_vqa": easy_vqa, "shapes": shapes.shapes}
OPTIMIZERS = {"adamw": optimizer.adamw, "sgd": optimizer.sgd}
DTYPES = {"bfloat16": jnp.bfloat16, "float32": jnp.float32}
SCHEDULES = {"constant": optimizer.constant, "warmup_cosine": optimizer.warmup_cosine}
AUGMENTATIONS = {
    "image": {
        "flip_horizontal": augment.flip_horizontal,
        "flip_vertical": augment.flip_vertical,
        "shift": augment.shift,
    }
}

FLAT_EVALUATION = 10  # questions an image when training has one; only memory and speed depend on it


def lookup(table: Mapping[str, Any], name: str, where: str) -> Any:
    """`table[name]`, or a UserError that names the nearest entries; `where` is the config key."""
    if name not in table:
        raise UserError(f"{where}: unknown {name!r}; {cli.nearest(str(name), list(table))}")
    return table[name]


def _options(constructor: Callable) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(constructor).parameters.values()
    return {p.name: p for p in parameters if p.name not in ("self", "parent", "name")}


def construct(table: Mapping[str, Callable], spec: ConfigDict, where: str, **given: Any) -> Any:
    """Calls the constructor that `spec.name` names with the other entries of `spec` as options.

    Args:
        table: constructors by name.
        spec: `name` and options.
        where: the config key of `spec`, for errors.
        given: options that apply unless `spec` says otherwise, where the constructor has them.

    Raises:
        UserError: an unknown name or option.
    """
    if "name" not in spec:
        raise UserError(f"{where} has no 'name'; {cli.nearest('', list(table))}")
    constructor = lookup(table, spec["name"], f"{where}.name")
    known = _options(constructor)
    options = {key: value for key, value in spec.items() if key != "name"}
    for key in options:
        lookup(known, key, f"{where} ({spec['name']})")
    return constructor(**{k: v for k, v in given.items() if k in known} | options)


def as_config(tree: Any) -> Any:
    """A config from the JSON of a workdir: lists become tuples again."""
    if isinstance(tree, dict):
        return ConfigDict({key: as_config(value) for key, value in tree.items()})
    return tuple(as_config(v) for v in tree) if isinstance(tree, list) else tree


def modalities(config: ConfigDict) -> tuple[str, ...]:
    """The modalities of a config, each of which must have an encoder."""
    names = config.modalities
    if not isinstance(names, tuple) or not names:
        raise UserError(f"config.modalities={names!r} must be a tuple of names such as ('image',)")
    for name in names:
        lookup(dict.fromkeys(config.encoders), name, "config.modalities")
    return names


def model(config: ConfigDict, *, classes: int, vocabulary_size: int) -> FusedModel:
    """The encoders of `config.modalities`, the fusion and a head for the labels."""
    dtype = lookup(DTYPES, config.dtype, "config.dtype")
    given = {"width": config.width, "dtype": dtype}
    encoders = {
        name: construct(
            lookup(ENCODERS, name, "config.encoders"),
            config.encoders[name],
            f"config.encoders.{name}",
            **given,
            vocabulary_size=vocabulary_size,
        )
        for name in modalities(config)
    }
    fusion = construct(FUSIONS, config.fusion, "config.fusion", **given)
    head = construct(
        {"classification": ClassificationHead},
        ConfigDict({"name": "classification", **config.head}),
        "config.head",
        classes=classes,
        dtype=dtype,
    )
    return FusedModel(encoders=encoders, fusion=fusion, heads={"label": head})


def task(config: ConfigDict) -> Task:
    """The task, with the losses and metrics that the config names."""

    def loss(name: str, spec: ConfigDict) -> Callable:
        function = lookup(LOSSES, name, "config.losses")
        options = {key: value for key, value in spec.items() if key != "weight"}
        for key in options:
            lookup(_options(function), key, f"config.losses.{name}")
        return functools.partial(function, **options)

    return lookup(TASKS, config.task, "config.task")(
        modalities=modalities(config),
        losses={name: loss(name, spec) for name, spec in config.losses.items()},
        metrics={name: lookup(METRICS, name, "config.metrics") for name in config.metrics},
    )


def example_inputs(config: ConfigDict) -> dict[str, Input]:
    """One row of zeros for each modality, to initialise a model with."""
    size = config.data.image_size
    length = config.data.text_length
    values = {
        "image": lambda: Input(jnp.zeros((1, size, size, 3), jnp.uint8), jnp.ones(1, bool)),
        "text": lambda: Input(jnp.zeros((1, length), jnp.int32), jnp.ones((1, length), bool)),
    }
    return {name: values[name]() for name in modalities(config)}


def make_optimizer(config: ConfigDict, params: Any) -> tuple[Any, Callable[[int], float]]:
    """The optimizer, and its learning rate at each update."""
    c = config.optimizer
    schedule = lookup(SCHEDULES, c.schedule, "config.optimizer.schedule")(
        learning_rate=c.learning_rate,
        steps=config.train.steps // c.accumulate,
        warmup_steps=c.warmup_steps,
        end_factor=c.end_factor,
    )
    spec = ConfigDict({"name": c.name, **c.options})
    base = construct(OPTIMIZERS, spec, "config.optimizer", schedule=schedule)
    wrapped = optimizer.make_optimizer(
        base, params=params, clip_norm=c.clip_norm, accumulate=c.accumulate, freeze=c.freeze
    )
    return wrapped, lambda step: schedule(step // c.accumulate)


def make_augment(config: ConfigDict) -> Callable:
    """The augmentation that runs on the device before each training step."""

    def functions(name: str) -> tuple[Callable, ...]:
        table = lookup(AUGMENTATIONS, name, "config.augment")
        where = f"config.augment.{name}"
        return tuple(
            functools.partial(lookup(table, key, where), **options)
            for key, options in config.augment[name].items()
        )

    names = [name for name in config.augment if name in modalities(config)]
    return augment.make_augment({name: functions(name) for name in names})


def make_schedule(config: ConfigDict) -> loop.Schedule:
    """When to log, evaluate, save and stop."""
    c = config.train
    lookup({"max": 0, "min": 0}, c.mode, "config.train.mode")
    for key in ("steps", "max_skipped"):
        if c[key] < 1:
            raise UserError(f"config.train.{key}={c[key]} must be at least 1")
    names = [field.name for field in dataclasses.fields(loop.Schedule)]
    return loop.Schedule(**{name: c[name] for name in names})


def sources(config: ConfigDict) -> dict[str, Source]:
    """The splits of the data set."""
    c = config.data
    constructor = lookup(DATASETS, c.name, "config.data.name")
    known = _options(constructor)
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
