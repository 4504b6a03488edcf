"""Config -> the model, and inputs to initialise it with."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.checkpoints import joint, pretrained
from mmjax.factory.config.asked import Asked, asked
from mmjax.factory.config.typed import typed
from mmjax.factory.tables.encoders import ENCODERS
from mmjax.factory.tables.fusions import FUSIONS
from mmjax.factory.tables.kinds import KINDS
from mmjax.factory.tables.names import (
    DTYPES,
    check_number,
    construct,
    entry,
    is_path,
    lookup,
    options_of,
    sample_rate,
)
from mmjax.models.aligned import AlignedModel
from mmjax.models.critic import Critic
from mmjax.models.decision import COMBINATIONS, DecisionModel
from mmjax.models.fused import FusedModel, trunk_name
from mmjax.models.heads import Projection
from mmjax.models.matching import Matcher
from mmjax.models.transcriber import Transcriber
from mmjax.types import Input

TEACHERS = "config.teachers"
# Fusions whose tokens are those of one modality, in their order, and the option that names it.
ORDERED = {"cross_attention": "query", "film": "target"}


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


def teachers(config: ConfigDict) -> dict[str, str]:
    """The workdirs of config.teachers, by modality; each must be one of the config's.

    Raises:
        UserError: one that is not, or whose encoder is part of config.model, or what is no table.
    """
    found = config.get("teachers") or {}
    if not isinstance(found, Mapping | ConfigDict):
        raise UserError(f"{TEACHERS}={found!r}: give a table of workdirs by modality")
    known = dict.fromkeys(name for name in config.modalities if name in config.get("encoders", {}))
    for name, path in found.items():
        lookup(known, name, TEACHERS)
        typed(path, str, f"{TEACHERS}.{name}")
    return dict(found)


def read_by(config: ConfigDict, task: Asked) -> tuple[str, ...]:
    """The modalities that a task reads: its own, sorted, or all of the config."""
    names = modalities(config)
    own = task.get("modalities") if task.path else ()
    return tuple(sorted(own)) if own and {*own} != {*names} else names


def kind_of(config: ConfigDict, name: str) -> str:
    """The kind of raw input of a modality, a key of ENCODERS: its name unless `kind` says so."""
    whole = joint.kinds(config)
    return whole[name] if name in whole else config.encoders[name].get("kind", name)


class Parts(NamedTuple):
    """What models are made of.

    Attributes:
        config: checked.
        encoders: by modality.
        given: the options that modules take beside those of their entries: dtype, and width.
        tasks: their names.
        head: of a task by name.
        whole: config.model, if there is one.
    """

    config: ConfigDict
    encoders: Mapping[str, Any]
    given: Mapping[str, Any]
    tasks: Sequence[str]
    head: Callable[[str], Any]
    whole: joint.Whole | None


def model(
    config: ConfigDict,
    *,
    classes: int | Mapping[str, int],
    vocabulary_size: int,
    checkpoints: pretrained.Checkpoints | None = None,
) -> FusedModel | DecisionModel | AlignedModel | Transcriber:
    """The encoders of `config.modalities`, and what the tasks need behind them; see MODELS.

    Args:
        config: checked.
        classes: of each task by name, or of the only one: how many scores its head has.
        vocabulary_size: of the tokenizer.
        checkpoints: of pretrained encoders and of config.model, which brings its own projections.
            None: those that the config names.
    """
    dtype = lookup(DTYPES, config.dtype, "config.dtype")
    names, tasks = modalities(config), asked(config)
    given_weights = pretrained.checkpoints(config) if checkpoints is None else checkpoints
    whole = joint.whole(config, given_weights[joint.MODEL], dtype) if joint.kinds(config) else None
    encoders: dict[str, Any] = dict(whole.encoders) if whole else {}
    given = {"dtype": dtype}
    if len(encoders) < len(names):
        check_number("config", "width", config.width, None)
        given["width"] = config.width

    def encoder(name: str) -> Any:
        spec, where, kind = config.encoders[name], f"config.encoders.{name}", kind_of(config, name)
        table = lookup(ENCODERS, kind, f"{where}.kind")
        rate = sample_rate(config, name)
        if name in given_weights:
            return pretrained.encoder(given_weights[name], spec, kind, where, **given, rate=rate)
        options = given | {"vocabulary_size": vocabulary_size, "sample_rate": rate}
        return construct(table, spec, where, **options)

    encoders |= {name: encoder(name) for name in names if name not in encoders}
    counts = classes if isinstance(classes, Mapping) else dict.fromkeys(tasks, classes)

    def head(name: str) -> Any:
        task = tasks[name]
        table = task.type.heads
        spec = ConfigDict({"name": next(iter(table)), **task.get("head")})
        return construct(table, spec, f"{task.where}.head", classes=counts[name], dtype=dtype)

    kind = next(iter(tasks.values())).type.model
    made = MODELS[kind](Parts(config, encoders, given, tuple(tasks), head, whole))
    taught = {name: encoder(name) for name in teachers(config)}
    return made.clone(teachers=taught) if taught else made


def fused(parts: Parts) -> FusedModel | DecisionModel:
    """A fusion and a head for each task. With `config.decision` each modality has a head of its own
    and the decisions are fused."""
    config, encoders, given, tasks, head, _ = parts
    if config.get("decision"):
        found = entry(COMBINATIONS, config.decision, "config.decision")
        rule = found if is_path(config.decision) else config.decision
        (name,) = tasks
        heads = {modality: head(name) for modality in encoders}
        return DecisionModel(encoders=encoders, heads=heads, combine=rule, name_of=name)
    fusion = construct(FUSIONS, config.fusion, "config.fusion", **given)
    heads = {name: head(name) for name in tasks}
    options = {key: config.get(key, 0.0) for key in ("mixup", "modality_dropout")}
    of_task = {name: read_by(config, task) for name, task in asked(config).items()}
    reads = {name: names for name, names in of_task.items() if names != modalities(config)}
    trunks = {
        trunk_name(names): construct(FUSIONS, config.fusion, "config.fusion", **given)
        for names in reads.values()
    }
    return FusedModel(
        encoders=encoders, fusion=fusion, heads=heads, reads=reads, trunks=trunks, **options
    )


def sequence(parts: Parts) -> Transcriber:
    """The encoders, a head over each token, and `config.fusion` if there is one.

    Raises:
        UserError: several modalities and no fusion, one that does not keep a sequence, or several
            tasks.
    """
    config, encoders, given, tasks, head, _ = parts
    if len(tasks) > 1:
        raise UserError(f"config.tasks: {' and '.join(tasks)} write; ask for one text in a run")
    spec, ordered = config.get("fusion") or ConfigDict(), ORDERED
    choices = " or ".join(f"{name!r} with {option}=NAME" for name, option in ordered.items())
    fusion = None
    if spec:
        name = spec.get("name")
        if name not in ordered or not spec.get(ordered[name]):
            raise UserError(
                f"config.fusion={name!r} keeps no sequence to write from: use {choices}"
            )
        fusion = construct(FUSIONS, spec, "config.fusion", **given)
    elif len(encoders) > 1:
        raise UserError(f"config.modalities={tuple(encoders)}: set config.fusion to {choices}")
    return Transcriber(encoders=encoders, head=head(tasks[0]), fusion=fusion)


def aligned(parts: Parts) -> AlignedModel:
    """The encoders and projections of `config.alignment` behind them, or those of config.model.

    With `config.matching`, a fusion, also a head that says whether two inputs match; with
    `config.critic` one that tells the modalities of embeddings apart.
    """
    config, encoders, given, _, _, whole = parts
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


# The models that tasks need, see TaskType.model.
MODELS = {"aligned": aligned, "fused": fused, "sequence": sequence}


def example_inputs(config: ConfigDict) -> dict[str, Input]:
    """One row of zeros for each modality, to initialise a model with.

    Raises:
        UserError: `config.data` does not say the shape of a modality.
    """

    def zeros(name: str) -> Input:
        kind = lookup(KINDS, kind_of(config, name), f"config.encoders.{name}.kind")
        shape = shape_of(config, name)
        mask = jnp.ones((1, *shape[: kind.masked_axes]), bool)
        return Input(jnp.zeros((1, *shape), kind.dtype), mask)

    return {name: zeros(name) for name in modalities(config)}


def shape_of(config: ConfigDict, name: str) -> tuple[int, ...]:
    """The shape of one example of a modality; raises a UserError where config.data has none."""
    given, usual = config.data.get("shapes", {}), KINDS[kind_of(config, name)].usual
    if name in given:
        return tuple(given[name])
    if usual is None or usual[0] not in config.data:
        raise UserError(
            f"config.data.shapes has no {name!r}: give the shape of one example, such as (16,)"
        )
    key, shape = usual
    return shape(config.data[key])


def texts(config: ConfigDict) -> dict[str, int]:
    """The modalities that are strings of text, and the length of each in ids.

    One whose encoder is told its `vocabulary_size` is given ids instead.
    """
    words = (n for n in modalities(config) if KINDS[kind_of(config, n)].words)
    names = (n for n in words if "vocabulary_size" not in config.encoders.get(n, {}))
    return {name: shape_of(config, name)[0] for name in names}
