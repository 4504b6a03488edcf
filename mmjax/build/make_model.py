"""Config -> the model, the task, and inputs to initialise the model with."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from mmjax.build.encoders import ENCODERS
from mmjax.build.fusions import FUSIONS
from mmjax.build.tables import DTYPES, LOSSES, METRICS, TASKS, construct, lookup, options_of
from mmjax.models.fused import FusedModel
from mmjax.models.heads import ClassificationHead
from mmjax.tasks.task import Task
from mmjax.types import Input, UserError


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
            lookup(options_of(function), key, f"config.losses.{name}")
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
