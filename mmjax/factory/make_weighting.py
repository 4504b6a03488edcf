"""Config -> how losses weigh: within a task, and tasks and modalities among each other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import optax
from ml_collections import ConfigDict

from mmjax.data.sources.targets import CATEGORY
from mmjax.errors import UserError
from mmjax.factory.bind import weights
from mmjax.factory.config.asked import asked
from mmjax.factory.make_model import modalities
from mmjax.factory.make_tasks import Questions
from mmjax.factory.tables.names import construct, entry, options_of
from mmjax.factory.tables.weightings import (
    ALONE,
    EXTRA,
    FEATURE_LOSSES,
    MODULATORS,
    ONE_BY_ONE,
    WEIGHTINGS,
)
from mmjax.train.weighting import FeatureLoss, LossWeighting, Weight, fixed, scaled
from mmjax.types import TARGETS

WHERE = "config.weighting"


class TaskWeights(NamedTuple):
    """How losses weigh.

    of_losses: of each task's losses, by label.
    weighting: of the tasks among each other, and behind them of modalities alone.
    aggregator: of the gradients of the weighted losses of the tasks; None: of their sum.
    one_by_one: whether these gradients are computed one after the other.
    modulator: of the gradient, by what each modality is good for alone.
    alone: the modalities whose losses alone are measured.
    feature_loss: of what encoders put out, beside those of the tasks.
    """

    of_losses: Mapping[str, Mapping[str, Weight]]
    weighting: LossWeighting
    aggregator: optax.GradientTransformation | None = None
    one_by_one: bool = False
    modulator: optax.GradientTransformation | None = None
    alone: tuple[str, ...] = ()
    feature_loss: FeatureLoss | None = None


def task_weights(config: ConfigDict, questions: Questions | None = None) -> TaskWeights:
    """The weights of each task's losses, and of tasks and modalities among each other.

    The `weight` of a task is a factor of its loss before any weighting or aggregator sees it.

    Args:
        config: of the run.
        questions: what its data say; None where nothing is computed yet.

    Raises:
        UserError: options that cannot be, or a weighting of a single loss.
    """
    found = asked(config)
    of_losses = {n: weights(t.get("losses"), f"{t.where}.losses") for n, t in found.items()}
    factors = [task.get("weight") for task in found.values()]
    spec = config.get("weighting") or ConfigDict({"name": "fixed"})
    extra = {key: spec.get(key, False) for key in EXTRA}
    for key, value in extra.items():
        if not isinstance(value, bool):
            raise UserError(f"{WHERE}.{key}={value!r}: give True or False")
    is_modulator, of_features = _is_modulator(spec.name), _is_feature_loss(spec.name)
    by_modality = is_modulator or "modalities" in _options(spec.name)
    alone = modalities(config) if extra[ALONE] or (by_modality and not of_features) else ()
    if len(modalities(config)) == 1 and (alone or by_modality):
        raise UserError(
            f"{WHERE} ({spec.name}) weighs modalities against each other, and config.modalities"
            " has one: leave it out"
        )
    factors += [1.0] * (0 if is_modulator else len(alone))
    if len(factors) == 1 and spec.name != "fixed" and not (is_modulator or of_features):
        raise UserError(
            f"{WHERE}={spec.name!r} weighs tasks against each other, and there is one: leave it"
            f" out, give several in config.tasks, or set {WHERE}.{ALONE}=True for modalities"
        )
    labels = _labels(config, questions) if of_features else {}
    made = _made(config, spec, factors, labels)
    kinds = FeatureLoss if of_features else LossWeighting | optax.GradientTransformation
    if not isinstance(made, kinds):
        wanted = (
            "FeatureLoss" if of_features else "LossWeighting or an optax.GradientTransformation"
        )
        raise UserError(
            f"{WHERE}.name={spec.name!r} gives a {type(made).__name__}: it must give a {wanted}"
        )
    is_aggregator = isinstance(made, optax.GradientTransformation) and not is_modulator
    if extra[ONE_BY_ONE] and not is_aggregator:
        raise UserError(
            f"{WHERE}.{ONE_BY_ONE}=True is for aggregators, and {spec.name!r} takes one backward"
            " pass: leave it out"
        )
    plain = TaskWeights(of_losses, fixed(factors), alone=alone)
    if of_features:
        return plain._replace(feature_loss=made)
    if is_modulator:
        return plain._replace(modulator=made)
    if is_aggregator:
        return plain._replace(aggregator=made, one_by_one=extra[ONE_BY_ONE])
    return plain if spec.name == "fixed" else plain._replace(weighting=scaled(made, factors))


def _labels(config: ConfigDict, questions: Questions | None) -> dict[str, Any]:
    """The key of a batch with the labels that features are compared by, and how many there are.

    They are those of the first task that is asked for one class.

    Raises:
        UserError: there is none.
    """
    if questions is None:
        found = [name for name, task in asked(config).items() if CATEGORY in task.type.targets]
    else:
        found = [n for n, target in questions.given["train"].items() if target.type == CATEGORY]
    if not found:
        raise UserError(
            f"{WHERE}={config.weighting.name!r} needs a task that is asked for {CATEGORY}, such as"
            " config.task='classification'"
        )
    if questions is None:
        return {"target": TARGETS, "classes": 1}
    first = found[0]
    classes = len(questions.vocabularies[first])
    return {"target": TARGETS + questions.names[first], "classes": classes}


def _made(
    config: ConfigDict, spec: ConfigDict, factors: Sequence[float], labels: Mapping[str, Any]
) -> Any:
    """What the name of a weighting stands for, with its options."""
    options = ConfigDict({key: value for key, value in spec.items() if key not in EXTRA})
    given = {
        "modalities": modalities(config),
        "seed": config.get("seed", 0),
        "tasks": len(factors),
        "weights": factors,
        **labels,
    }
    try:
        made = construct(WEIGHTINGS, options, WHERE, **given)
        if isinstance(made, LossWeighting):
            made.init(len(factors))  # which may have something to say of their number
    except ValueError as error:
        raise UserError(f"{WHERE} ({spec.name}): {error}") from error
    return made


def _options(name: str) -> Mapping[str, Any]:
    found: Callable = entry(WEIGHTINGS, name, f"{WHERE}.name")
    return options_of(found)


def _is_modulator(name: str) -> bool:
    known = name in WEIGHTINGS
    named = not known and "modalities" in _options(name) and not _is_feature_loss(name)
    return name in MODULATORS or named


def _is_feature_loss(name: str) -> bool:
    known = name in WEIGHTINGS
    return name in FEATURE_LOSSES or (not known and "target" in _options(name))
