"""Config -> how losses weigh against each other: within a task, and tasks among each other."""

from collections.abc import Mapping
from typing import NamedTuple

import optax
from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.bind import weights
from mmjax.factory.config.asked import asked
from mmjax.factory.tables.names import construct
from mmjax.factory.tables.weightings import EXTRA, WEIGHTINGS
from mmjax.train.weighting import LossWeighting, Weight, fixed, scaled

WHERE = "config.weighting"


class TaskWeights(NamedTuple):
    """How losses weigh.

    of_losses: of each task's losses, by label.
    weighting: of the tasks among each other.
    aggregator: of the gradients of the weighted losses of the tasks; None: of their sum.
    one_by_one: whether these gradients are computed one after the other.
    """

    of_losses: Mapping[str, Mapping[str, Weight]]
    weighting: LossWeighting
    aggregator: optax.GradientTransformation | None = None
    one_by_one: bool = False


def task_weights(config: ConfigDict) -> TaskWeights:
    """The weights of each task's losses, and of the tasks among each other.

    The `weight` of a task is a factor of its loss before any weighting or aggregator sees it.

    Raises:
        UserError: options that cannot be, or a weighting of a single task.
    """
    found = asked(config)
    of_losses = {n: weights(t.get("losses"), f"{t.where}.losses") for n, t in found.items()}
    factors = [task.get("weight") for task in found.values()]
    spec = config.get("weighting") or ConfigDict({"name": "fixed"})
    if len(found) == 1 and spec.name != "fixed":
        raise UserError(
            f"{WHERE}={spec.name!r} weighs tasks against each other, and there is one: leave it"
            " out, or give several in config.tasks"
        )
    one_by_one = spec.get(EXTRA, False)
    if not isinstance(one_by_one, bool):
        raise UserError(f"{WHERE}.{EXTRA}={one_by_one!r}: give True or False")
    options = ConfigDict({key: value for key, value in spec.items() if key != EXTRA})
    given = {"seed": config.get("seed", 0), "tasks": len(found), "weights": factors}
    try:
        made = construct(WEIGHTINGS, options, WHERE, **given)
        if isinstance(made, LossWeighting):
            made.init(len(found))  # which may have something to say of their number
    except ValueError as error:
        raise UserError(f"{WHERE} ({spec.name}): {error}") from error
    if isinstance(made, optax.GradientTransformation):
        return TaskWeights(of_losses, fixed(factors), made, one_by_one)
    if not isinstance(made, LossWeighting):
        raise UserError(
            f"{WHERE}.name={spec.name!r} gives a {type(made).__name__}: it must give a"
            " LossWeighting or an optax.GradientTransformation"
        )
    if one_by_one:
        raise UserError(
            f"{WHERE}.{EXTRA}=True is for aggregators, and {spec.name!r} takes one backward pass:"
            " leave it out"
        )
    return TaskWeights(of_losses, made if spec.name == "fixed" else scaled(made, factors))
