"""Config -> optimizer, augmentation and schedule."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.make_model import kind_of, modalities
from mmjax.factory.tables.kinds import AUGMENTATIONS
from mmjax.factory.tables.names import OPTIMIZERS, SCHEDULES, construct, entry, lookup
from mmjax.factory.tuning import trains
from mmjax.train import augment, loop, optimizer, partition


def rates(config: ConfigDict) -> Callable[[int], Any]:
    """The learning rate of each update: a function of all steps of the schedule, done or to come.

    So a run that is started again with another config.train.steps goes on with the rate that the
    new schedule has at its step.
    """
    c = config.optimizer
    end = {"end_factor": c.end_factor} if "end_factor" in c else {}
    return entry(SCHEDULES, c.schedule, "config.optimizer.schedule")(
        learning_rate=c.learning_rate,
        steps=config.train.steps // c.accumulate,
        warmup_steps=c.warmup_steps,
        **end,
    )


def make_optimizer(config: ConfigDict, params: Any) -> tuple[Any, Callable[[int], float]]:
    """The optimizer, and its learning rate at each update."""
    c, schedule = config.optimizer, rates(config)
    spec = ConfigDict({"name": c.name, **c.options})

    def make(schedule: Callable) -> Any:
        return construct(OPTIMIZERS, spec, "config.optimizer", schedule=schedule)

    first, base = None, None
    decay, unfreeze = c.get("layer_decay", 1.0), c.get("unfreeze", ())
    if not 0 < decay <= 1:
        raise UserError(f"config.optimizer.layer_decay={decay}: choose more than 0, and 1 at most")
    if decay < 1 or unfreeze:
        first = partition.first_updates(params, unfreeze, c.accumulate)
        factors = jax.tree.map(lambda _: 1.0, params)
        if decay < 1:
            factors = partition.layer_factors(params, decay)
        base = optimizer.layer_wise(make, schedule, factors, first)
    free = trains(config, params)
    if free is not None and not any(jax.tree.leaves(free)):
        raise UserError(
            "nothing trains: all parameters are frozen by config.tuning, config.optimizer.freeze or"
            " a pretrained model's freeze; leave something out of these"
        )
    wrapped = optimizer.make_optimizer(
        base or make(schedule),
        params=params,
        clip_norm=c.clip_norm,
        accumulate=c.accumulate,
        freeze=c.freeze,
        trains=free,
        first=first if unfreeze else None,
    )
    return wrapped, lambda step: schedule(step // c.accumulate)


def make_augment(config: ConfigDict) -> Callable:
    """The augmentation that runs on the device before each training step."""

    def functions(name: str) -> tuple[Callable, ...]:
        table = lookup(AUGMENTATIONS, kind_of(config, name), "config.augment")
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
    names = [field.name for field in dataclasses.fields(loop.Schedule)]
    return loop.Schedule(**{name: c[name] for name in names})
