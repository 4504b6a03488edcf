"""The parts of a config that a name chooses, and the options that each of them has.

A part is a dictionary such as config.fusion: its `name` is an entry of a table, and its other keys
are options of what stands there. `children` says what may stand anywhere in a config, for checks
and for command lines.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Union

from mmjax.factory import bind
from mmjax.factory.checkpoints import pretrained
from mmjax.factory.config.keys import GROUPS, TASK_KEYS, keys_of
from mmjax.factory.tables.encoders import ENCODERS
from mmjax.factory.tables.fusions import FUSIONS
from mmjax.factory.tables.kinds import AUGMENTATIONS
from mmjax.factory.tables.losses import LOSSES
from mmjax.factory.tables.metrics import METRICS
from mmjax.factory.tables.names import (
    DATASETS,
    OPTIMIZERS,
    entry,
    has,
    lookup,
    options_of,
)
from mmjax.factory.tables.tasks import TASKS
from mmjax.factory.tables.weightings import EXTRA, GIVEN, WEIGHTINGS
from mmjax.factory.tuning import TUNINGS
from mmjax.models.aligned import AlignedModel
from mmjax.models.critic import Critic
from mmjax.models.heads import Projection

Path = tuple[str, ...]
Options = Mapping[str, inspect.Parameter]
# What a part is given by the rest of a config, unless its own options say otherwise.
SUPPLIED = ("cache", "dir", "dtype", "image_size", "sample_rate", "seed", "vocabulary_size")
SUPPLIED += ("columns", "files", "target", "width")
# Keys of config.data that some data sets have, and the modality that they are also of.
OF_SOME_DATA = {
    **dict.fromkeys(("cache", "dir", "files", "target")),
    "image_size": "image",
    "text_length": "text",
}
OPEN = inspect.Parameter.empty  # of any type, so far as is known here


class Named(NamedTuple):
    """A part: what its name may be, and the options of each.

    table: options, or the constructor that has them, by name.
    default: the name of a part that says none; "" if it must.
    extra: keys besides the options, with their types.
    unnamed: whether there is nothing to choose, and so no key `name`.
    reads: whether an option may be the name of an array that is read.
    given: what only the rest of a config says, and so no option.
    """

    table: Mapping[str, Callable | Options]
    default: str = ""
    extra: Mapping[str, Any] = {}
    unnamed: bool = False
    reads: bool = False
    given: tuple[str, ...] = ()

    def options(self, name: str) -> dict[str, inspect.Parameter]:
        """The options of an entry that a config may say, by name."""
        found = entry(self.table, name, "config")
        known = options_of(found) if callable(found) else dict(found)
        return {key: p for key, p in known.items() if key not in self.given}

    def keys(self, name: str) -> dict[str, Any]:
        """All that a part of this name may hold, with the type of each."""
        found = {key: p.annotation for key, p in self.options(name).items()}
        if self.reads:
            found = {key: Union[annotation, str] for key, annotation in found.items()}  # noqa: UP007
        return found | dict(self.extra) | ({} if self.unnamed else {"name": str})


def kind_of(tree: Mapping[str, Any], name: str) -> Any:
    """The kind of input of a modality: what its encoder or config.model says, else its name."""
    spec = tree.get("encoders", {}).get(name)
    if spec is None:
        said = node_at(tree, (pretrained.MODEL, "kinds"))
        return said.get(name, name) if isinstance(said, Mapping) else name
    return spec.get("kind", name) if isinstance(spec, Mapping) else name


def _encoder(tree: Mapping[str, Any], name: str) -> Named | None:
    kind = kind_of(tree, name)
    if kind not in ENCODERS:
        return None
    return Named({**ENCODERS[kind], pretrained.NAME: PRETRAINED}, extra={"kind": str})


def _parameters(**annotations: Any) -> Options:
    make = inspect.Parameter
    return {
        name: make(name, make.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in annotations.items()
    }


_PIXELS = float | tuple[float, ...]
PRETRAINED = _parameters(
    path=str, freeze=bool, output=str, pixel_mean=_PIXELS, pixel_std=_PIXELS, sample_rate=int
)
WHOLE = _parameters(path=str, freeze=bool | tuple[str, ...], kinds=OPEN, sample_rate=int)
ALIGNMENT = options_of(Projection) | {
    k: options_of(AlignedModel)[k] for k in ("temperature", "bias")
}
CRITIC = {"dense": Critic}


def _chosen(table: Mapping[str, Callable], name: Any, *given: str) -> Named | None:
    if not has(table, name):
        return None
    return Named({"": entry(table, name, "config")}, unnamed=True, given=given)


def part_at(tree: Mapping[str, Any], path: Path) -> Named | None:
    """The part at a path of a config, given as nested dictionaries; None where there is none."""
    match path:
        case ("fusion",) | ("matching",):
            return Named(FUSIONS)
        case ("tuning",):
            return Named(TUNINGS)
        case ("weighting",):
            return Named(WEIGHTINGS, extra=EXTRA, given=GIVEN)
        case (pretrained.MODEL,):
            return Named({pretrained.NAME: WHOLE})
        case ("alignment",):
            return Named({"": ALIGNMENT}, unnamed=True)
        case ("critic",):
            return Named(CRITIC, "dense")
        case ("tasks", name, *rest) if rest:
            spec = node_at(tree, ("tasks", name))
            return _part_of_task(spec.get("name"), tuple(rest)) if spec else None
        case ("head", *_) | ("losses", *_) | ("metrics", *_):
            return _part_of_task(tree.get("task"), path)
        case ("encoders", name):
            return _encoder(tree, name)
        case ("data", "options"):
            return _chosen(DATASETS, tree.get("data", {}).get("name"))
        case ("optimizer", "options"):
            return _chosen(OPTIMIZERS, tree.get("optimizer", {}).get("name"), "schedule")
        case ("augment", name, function):
            return _chosen(AUGMENTATIONS.get(kind_of(tree, name), {}), function, "key", "image")
    return None


def _part_of_task(kind: Any, path: Path) -> Named | None:
    """The part at a path below a task."""
    match path:
        case ("head",) if has(TASKS, kind) and (table := entry(TASKS, kind, "config").heads):
            return Named(table, next(iter(table)), given=("classes",))
        case ("losses", label):
            return Named(LOSSES, label, {"weight": OPEN}, reads=True)
        case ("losses", _, "weight"):
            return Named(bind.WEIGHTS)
        case ("metrics", label):
            return Named(METRICS, label, reads=True)
    return None


def is_list(path: Path) -> bool:
    """Whether names alone may stand at a path: losses and metrics."""
    last = path[2:] if path[:1] == ("tasks",) else path
    return last in (("losses",), ("metrics",))


def node_at(tree: Mapping[str, Any], path: Path) -> Any:
    """What stands at a path of nested dictionaries; {} where nothing does."""
    node: Any = tree
    for name in path:
        node = node.get(name, {}) if isinstance(node, Mapping) else {}
    return node


def children(tree: Mapping[str, Any], path: Path) -> dict[str, Any] | None:
    """The keys that may stand in the dictionary at a path, with their types.

    None where nothing is known of them. What is a dictionary itself has the type `dict`.
    """
    node = node_at(tree, path)
    if not path:
        return {key: k.kind for key, k in keys_of("").items()} | dict.fromkeys(GROUPS, dict)
    if len(path) == 1 and path[0] in GROUPS:
        known = {key: k.kind for key, k in keys_of(path[0]).items()}
        return {k: v for k, v in known.items() if path != ("data",) or _is_used(tree, k)}
    modalities = tree.get("modalities", ())
    names = (*tree.get("encoders", {}), *(modalities if isinstance(modalities, tuple) else ()))
    match path:
        case ("encoders",) | ("data", "shapes" | "columns") if "modalities" not in tree:
            return None  # the data will say what there is
        case ("encoders",):
            return dict.fromkeys((*names, *ENCODERS), dict)
        case ("data", "shapes"):
            return dict.fromkeys(names, tuple[int, ...])
        case ("data", "columns") | ("teachers",):
            return dict.fromkeys(names, str)
        case _ if is_list(path):
            known = node if isinstance(node, Mapping) else ()
            return dict.fromkeys((*known, *(LOSSES if path[-1] == "losses" else METRICS)), dict)
        case ("tasks",):
            return dict.fromkeys(node, dict)
        case ("tasks", _):
            return {key: k.kind for key, k in TASK_KEYS.items()}
        case ("augment",):
            return dict.fromkeys(names, dict)
        case ("augment", name):
            return dict.fromkeys(AUGMENTATIONS.get(kind_of(tree, name), ()), dict)
    part = part_at(tree, path)
    if part is None:
        return None
    if part.unnamed:
        return part.keys("")
    name = (node.get("name") if isinstance(node, Mapping) else None) or part.default
    where = ".".join(("config", *path))
    if not name:
        return {"name": str} | dict(part.extra)
    lookup(part.table, name, where if name == part.default else f"{where}.name")
    return part.keys(name)


def _is_used(tree: Mapping[str, Any], key: str) -> bool:
    """Whether a key of config.data says anything to the data set or the modalities of a config."""
    data = node_at(tree, ("data",))
    if key in data or key not in OF_SOME_DATA:
        return True
    modality, modalities = OF_SOME_DATA[key], tree.get("modalities", ())
    if modality and "modalities" not in tree:
        return True  # the data will say whether there is such a modality
    if isinstance(modalities, tuple) and modality in modalities:
        return True
    return data.get("name") in DATASETS and key in options_of(DATASETS[data["name"]])


def with_inputs(tree: Mapping[str, Any]) -> dict[str, Any]:
    """By name the modalities that a config can read: its encoders', and config.model's own."""
    whole = tree["modalities"] if tree.get(pretrained.MODEL) is not None else ()
    return dict.fromkeys((*tree["encoders"], *whole))


def is_group(path: Path) -> bool:
    """Whether there is a group of keys at a path, such as config.train."""
    return len(path) == 1 and path[0] in GROUPS
