"""Config -> the model, the task, and inputs to initialise the model with."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory import transcripts
from mmjax.factory.bind import Counts, bind, entries
from mmjax.factory.checkpoints import joint, pretrained
from mmjax.factory.tables.encoders import ENCODERS
from mmjax.factory.tables.fusions import FUSIONS
from mmjax.factory.tables.losses import LOSSES
from mmjax.factory.tables.metrics import METRICS, ROW_METRICS, SET_METRICS
from mmjax.factory.tables.names import (
    DTYPES,
    RAW,
    TASKS,
    check_number,
    construct,
    lookup,
    options_of,
    sample_rate,
)
from mmjax.models.aligned import AlignedModel
from mmjax.models.critic import Critic
from mmjax.models.decision import COMBINATIONS, DecisionModel
from mmjax.models.fused import FusedModel
from mmjax.models.heads import ClassificationHead, Projection
from mmjax.models.matching import Matcher
from mmjax.models.transcriber import Transcriber
from mmjax.tasks import alignment, transcription
from mmjax.tasks.bound import Bound
from mmjax.tasks.task import Task
from mmjax.types import Input

ALIGNMENT = "alignment"


def as_config(tree: Any) -> Any:
    """A config from the JSON of a workdir: lists become tuples again."""
    if isinstance(tree, dict):
        return ConfigDict({key: as_config(value) for key, value in tree.items()})
    return tuple(as_config(v) for v in tree) if isinstance(tree, list) else tree


def modalities(config: ConfigDict) -> tuple[str, ...]:
    """The modalities of a config, each of which must have an encoder, or be config.model's."""
    names = config.modalities
    if not isinstance(names, tuple) or not names:
        raise UserError(f"config.modalities={names!r} must be a tuple of names such as ('image',)")
    whole = joint.kinds(config)
    for name in names:
        if name not in whole:
            lookup(dict.fromkeys(config.encoders), name, "config.modalities")
    return names


def kind_of(config: ConfigDict, name: str) -> str:
    """The kind of raw input of a modality, a key of ENCODERS: its name unless `kind` says so."""
    whole = joint.kinds(config)
    return whole[name] if name in whole else config.encoders[name].get("kind", name)


def model(
    config: ConfigDict,
    *,
    classes: int,
    vocabulary_size: int,
    checkpoints: pretrained.Checkpoints | None = None,
) -> FusedModel | DecisionModel | AlignedModel | Transcriber:
    """The encoders of `config.modalities`, and what the task needs behind them.

    For "alignment" a projection of each modality, for "transcription" a head over each token, else
    a fusion and a head for the labels. With `config.decision` each modality has a head of its own
    and the decisions are fused. Pretrained encoders are those of `checkpoints`; None: those that
    the config names. So is config.model, which brings its own projections.
    """
    dtype = lookup(DTYPES, config.dtype, "config.dtype")
    names = modalities(config)
    given_weights = pretrained.checkpoints(config) if checkpoints is None else checkpoints
    whole = None
    if joint.kinds(config):
        if config.task != ALIGNMENT:
            raise UserError(
                f"{joint.WHERE} is for config.task='alignment', not for {config.task!r}: name its"
                " checkpoint in config.encoders"
            )
        whole = joint.whole(config, given_weights[joint.MODEL], dtype)
    encoders: dict[str, Any] = dict(whole.encoders) if whole else {}
    given = {"dtype": dtype}
    if len(encoders) < len(names):
        check_number("config", "width", config.width, None)
        given["width"] = config.width
    for name in (name for name in names if name not in encoders):
        spec, where, kind = config.encoders[name], f"config.encoders.{name}", kind_of(config, name)
        table = lookup(ENCODERS, kind, f"{where}.kind")
        rate = sample_rate(config, name)
        if name in given_weights:
            made = pretrained.encoder(given_weights[name], spec, kind, where, **given, rate=rate)
        else:
            options = given | {"vocabulary_size": vocabulary_size, "sample_rate": rate}
            made = construct(table, spec, where, **options)
        encoders[name] = made
    if config.task == ALIGNMENT:
        return aligned(config, encoders, given, whole)
    for key in ("matching", "critic"):
        if config.get(key) is not None:
            raise UserError(
                f"config.{key} is a head for config.task='alignment', not for {config.task!r}:"
                " leave it out"
            )
    if config.task == transcripts.TASK:
        return transcripts.model(config, encoders, classes, given)

    def head() -> ClassificationHead:
        spec = ConfigDict({"name": "classification", **config.head})
        table = {"classification": ClassificationHead}
        return construct(table, spec, "config.head", classes=classes, dtype=dtype)

    if config.get("decision"):
        lookup(COMBINATIONS, config.decision, "config.decision")
        heads = {name: head() for name in encoders}
        return DecisionModel(encoders=encoders, heads=heads, combine=config.decision)
    mixup = config.get("mixup", 0.0)
    if mixup < 0:
        raise UserError(f"config.mixup={mixup} must be 0, for none, or more")
    fusion = construct(FUSIONS, config.fusion, "config.fusion", **given)
    return FusedModel(encoders=encoders, fusion=fusion, heads={"label": head()}, mixup=mixup)


def aligned(
    config: ConfigDict,
    encoders: Mapping[str, Any],
    given: Mapping[str, Any],
    whole: joint.Whole | None,
) -> AlignedModel:
    """The encoders and projections of `config.alignment` behind them, or those of config.model.

    With `config.matching`, a fusion, also a head that says whether two inputs match; with
    `config.critic` one that tells the modalities of embeddings apart.
    """
    where, dtype = "config.alignment", given["dtype"]
    learned = {name: options_of(AlignedModel)[name] for name in ("temperature", "bias")}
    known = options_of(Projection) | learned
    options = dict(config.get("alignment") or {})
    if whole is not None:
        own = [*learned, "embedding"] if len(whole.encoders) < len(encoders) else known
        for key in (key for key in options if key in own):
            raise UserError(f"{where}.{key}: {joint.WHERE} has its own: leave it out")
        options["embedding"] = whole.width
    for key, value in options.items():
        check_number(where, key, value, lookup(known, key, where).default)
    if options.get("temperature", 1.0) <= 0:
        raise UserError(f"{where}.temperature={options['temperature']} must be above 0")
    of_model = {key: options.pop(key) for key in learned if key in options}
    if config.get("matching") is not None:
        if whole is not None:
            raise UserError(
                f"config.matching reads tokens, of which {joint.WHERE} gives none: leave it out, or"
                " name its checkpoint in config.encoders"
            )
        fusion = construct(FUSIONS, config.matching, "config.matching", **given)
        of_model["matcher"] = Matcher(fusion=fusion, dtype=dtype)
    if config.get("critic") is not None:
        spec = ConfigDict({"name": "dense", **config.critic})
        of_model["critic"] = construct({"dense": Critic}, spec, "config.critic", dtype=dtype)
    projections = {name: Projection(dtype=dtype, **options) for name in encoders}
    if whole is not None:
        projections |= whole.projections
        of_model |= whole.options
    return AlignedModel(encoders=encoders, projections=projections, **of_model)


def task(
    config: ConfigDict, *, counts: Counts | None = None, alphabet: tuple[str, ...] = ()
) -> Task:
    """The task, with the losses and metrics that the config names.

    Args:
        config: of the run.
        counts: of the training split; None where losses are not computed, as for predictions.
        alphabet: of the texts that are written, for the metrics of a whole set of them.
    """
    names = modalities(config)
    space = f"{'embedding' if config.task == ALIGNMENT else 'encoder'}/"
    writes = config.task == transcripts.TASK
    of_tasks = {ALIGNMENT: alignment.READS, transcripts.TASK: transcription.READS}
    task_reads = of_tasks.get(config.task, {})

    def bound(table: Mapping[str, Callable], part: Any, where: str) -> dict[str, Bound]:
        return bind(
            table, part, where, modalities=names, space=space, counts=counts, task_reads=task_reads
        )

    learned = ConfigDict(joint.losses(config, entries(config.losses, "config.losses")))
    asked = entries(config.metrics, "config.metrics")
    for label, spec in asked.items():
        lookup(METRICS, spec.get("name", label), "config.metrics")

    def those_of(table: Mapping[str, Callable]) -> ConfigDict:
        chosen = {label: s for label, s in asked.items() if s.get("name", label) in table}
        return ConfigDict(chosen)

    return lookup(TASKS, config.task, "config.task")(
        modalities=names,
        losses=bound(LOSSES, learned, "config.losses"),
        metrics=bound(ROW_METRICS, those_of(ROW_METRICS), "config.metrics"),
        whole_set=bound(SET_METRICS, those_of(SET_METRICS), "config.metrics"),
        **({"alphabet": alphabet} if writes else {}),
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
