"""Config -> the model, the task, and inputs to initialise the model with."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from mmjax.build.encoders import ENCODERS
from mmjax.build.fusions import FUSIONS
from mmjax.build.tables import (
    DTYPES,
    LOSSES,
    METRICS,
    RAW,
    TASKS,
    check_number,
    construct,
    lookup,
    options_of,
)
from mmjax.models.decision import COMBINATIONS, DecisionModel
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


def kind_of(config: ConfigDict, name: str) -> str:
    """The kind of raw input of a modality, a key of ENCODERS: its name unless `kind` says so."""
    return config.encoders[name].get("kind", name)


def model(config: ConfigDict, *, classes: int, vocabulary_size: int) -> FusedModel | DecisionModel:
    """The encoders of `config.modalities`, the fusion and a head for the labels.

    With `config.decision` each modality has a head of its own and the decisions are fused.
    """
    dtype = lookup(DTYPES, config.dtype, "config.dtype")
    check_number("config", "width", config.width, None)
    given = {"width": config.width, "dtype": dtype}
    encoders = {
        name: construct(
            lookup(ENCODERS, kind_of(config, name), f"config.encoders.{name}.kind"),
            config.encoders[name],
            f"config.encoders.{name}",
            **given,
            vocabulary_size=vocabulary_size,
        )
        for name in modalities(config)
    }

    def head() -> ClassificationHead:
        spec = ConfigDict({"name": "classification", **config.head})
        table = {"classification": ClassificationHead}
        return construct(table, spec, "config.head", classes=classes, dtype=dtype)

    if config.get("decision"):
        lookup(COMBINATIONS, config.decision, "config.decision")
        heads = {name: head() for name in encoders}
        return DecisionModel(encoders=encoders, heads=heads, combine=config.decision)
    fusion = construct(FUSIONS, config.fusion, "config.fusion", **given)
    return FusedModel(encoders=encoders, fusion=fusion, heads={"label": head()})


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
    """One row of zeros for each modality, to initialise a model with.

    Raises:
        UserError: `config.data` does not say the shape of a modality.
    """
    c = config.data
    shapes = {"image": lambda: (c.image_size, c.image_size, 3), "text": lambda: (c.text_length,)}
    given = c.get("shapes", {})

    def zeros(name: str) -> Input:
        kind = lookup(RAW, kind_of(config, name), f"config.encoders.{name}.kind")
        if name not in given and name not in shapes:
            raise UserError(
                f"config.data.shapes has no {name!r}: give the shape of one example, such as (16,)"
            )
        shape = tuple(given[name]) if name in given else shapes[name]()
        mask = jnp.ones((1, *shape[: kind.masked_axes]), bool)
        return Input(jnp.zeros((1, *shape), kind.dtype), mask)

    return {name: zeros(name) for name in modalities(config)}
