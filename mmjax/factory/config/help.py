"""What --help=TOPIC prints: the keys of a config, the names there are, and the options of each."""

import inspect
import itertools
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmjax import cli
from mmjax.errors import UserError
from mmjax.factory.config.asked import tasks_of
from mmjax.factory.config.keys import ABSENT, KEYS, REQUIRED, Key, Part, keys_of
from mmjax.factory.config.parts import PRETRAINED, SUPPLIED, WHOLE, Named, part_at
from mmjax.factory.tables.encoders import ENCODERS
from mmjax.factory.tables.gallery import EXTRAS, needs, summary
from mmjax.factory.tables.kinds import AUGMENTATIONS
from mmjax.factory.tables.losses import CLASS_WEIGHTS
from mmjax.factory.tables.names import DATASETS, OPTIMIZERS
from mmjax.factory.tables.tasks import TASKS

HELP = """\
--help=TOPIC lists the keys of a group (train), the names there are (encoders, fusion, losses,
metrics, data, ...) or the options of one (fusion.film, losses.info_nce, encoders.image.cnn)."""
_ENTRY = re.compile(r"^( +)([\w, ]+): (.*)$")


def topics() -> dict[str, Named]:
    """The tables of names by topic, such as "fusion" or "encoders.image"."""
    inside = {
        **{f"encoders.{kind}": ("encoders", kind) for kind in sorted(ENCODERS)},
        **{name: (name,) for name in ("matching", "fusion", "critic", "model", "tuning")},
        "weighting": ("weighting",),
        **{name: (name, "") for name in ("losses", "metrics")},
        "losses.weight": ("losses", "", "weight"),
    }
    found = {topic: part_at({}, path) for topic, path in inside.items()}
    for kind, functions in AUGMENTATIONS.items():
        found[f"augment.{kind}"] = Named(functions, given=("key", "image"))
    return found | {
        "data": Named(DATASETS),
        "optimizer": Named(OPTIMIZERS, given=("schedule",)),
        "alignment": part_at({}, ("alignment",)),
        "head": Named(
            {n: h for task in TASKS.values() for n, h in task.heads.items()}, given=("classes",)
        ),
        "task": Named({name: summary(task.make) for name, task in TASKS.items()}),
    }


def describe(topic: str = "") -> str:
    """The lines of --help=TOPIC; of "" all keys.

    Raises:
        UserError: no such topic (the nearest is named).
    """
    topic, tables = topic.removeprefix("config."), topics()
    if not topic:
        return "\n".join((*itertools.starmap(_key, KEYS.items()), "", HELP))
    entries = {f"{name}.{e}": (name, p, e) for name, p in tables.items() for e in p.table if e}
    exact = [entries[topic]] if topic in entries else []
    parts = [*_keys(topic), *_tables(topic, tables), *itertools.starmap(_entry, exact)]
    if not parts:  # a name alone; "matching" has the table of "fusion"
        alone = {id(p.table[e]): (name, p, e) for name, p, e in entries.values() if e == topic}
        parts = list(itertools.starmap(_entry, alone.values()))
    if not parts:
        known = [*entries, *names_inside(tables), *KEYS]
        near = cli.nearest(topic, known).partition(" There is:")[0]
        hint = near if near.startswith("did you mean") else "--help lists all keys"
        raise UserError(f"--help={topic}: no such topic; {hint}")
    return "\n\n".join(parts)


def names_inside(tables: Mapping[str, Named]) -> list[str]:
    """The groups of keys and of tables, such as "train" and "encoders", and all tables."""
    groups = [key.partition(".")[0] for key in (*KEYS, *tables)]
    return list(dict.fromkeys([*groups, *tables]))


def _keys(topic: str) -> Iterator[str]:
    lines = [_key(f"{topic}.{name}", key) for name, key in keys_of(topic).items()]
    if topic in KEYS:
        lines.insert(0, _key(topic, KEYS[topic]))
    if lines:
        yield "\n".join(lines)


def _tables(topic: str, tables: Mapping[str, Named]) -> Iterator[str]:
    for name, part in tables.items():
        if name != topic and not (name.startswith(f"{topic}.") and topic not in tables):
            continue
        if part.unnamed:
            yield _entry(name, part, "")
            continue
        entries = {f"{name}.{entry}": found for entry, found in sorted(part.table.items())}
        lines = [f"{entry:34} {_about(found)}".rstrip() for entry, found in entries.items()]
        yield "\n".join(lines)


def _entry(topic: str, part: Named, name: str) -> str:
    """What a part is, what it reads and its options."""
    found, said = part.table[name], f"{topic}.{name}" if name else topic
    if isinstance(found, str):
        return f"{said}  {found}"
    lines = [f"{said}  {_about(found)}".rstrip()]
    arrays = [*EXTRAS, "mask", "names"] if part.reads else []
    if part.reads and needs(found):
        lines.append(f"  reads {needs(found).replace('`', '')}")
    texts = _option_texts(found) if callable(found) else {}
    for option, parameter in part.options(name).items():
        is_array = parameter.default is parameter.empty and part.reads
        if not is_array and option not in arrays:
            kind, default = type_name(parameter.annotation), _default(option, parameter)
            lines.append(f"  {option:24} {kind:28} {default:22} {texts.get(option, '')}".rstrip())
        if option == "class_weights":
            about = f"one of {', '.join(sorted(CLASS_WEIGHTS))}"
            lines.append(f"  {option:24} {'str':28} {'default None':22} {about}")
    return "\n".join(lines)


def _about(found: Any) -> str:
    """The one line of an entry of a table."""
    if found in (PRETRAINED, WHOLE):
        return "A published checkpoint; mmjax.pretrained(PATH) gives this entry."
    if not callable(found) and not isinstance(found, str):
        return ""
    return (summary(found) if callable(found) else found).replace("\\|", "|")


def _default(name: str, parameter: inspect.Parameter) -> str:
    if name in SUPPLIED:
        return "as the config says"
    value = parameter.default
    if value is parameter.empty:
        return "required"
    return f"default {getattr(value, '__name__', None) or repr(value)}"


def _option_texts(found: Callable) -> dict[str, str]:
    """What the docstring says of each option, under Args or Attributes, on one line.

    A class also has what its bases say of theirs.
    """
    texts: dict[str, str] = {}
    parts = reversed(found.__mro__) if inspect.isclass(found) else [found]
    for line in itertools.chain(*(inspect.cleandoc(p.__doc__ or "").splitlines() for p in parts)):
        match = _ENTRY.match(line)
        if match and len(match[1]) == 4:
            names = match[2].split(", ")
            texts |= dict.fromkeys(names, match[3])
        elif texts and line.startswith(" " * 8):
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return texts


def _key(name: str, key: Key) -> str:
    """The line of a key."""
    default = {REQUIRED: "required", ABSENT: "optional"}
    said = default.get(key.default) if key.default in (REQUIRED, ABSENT) else repr(key.default)
    more = [key.range()] if key.range() else []
    if key.names:
        more.append("one of " + ", ".join(name or "''" for name in sorted(key.names)))
    if tasks_of(name):
        more.append("for " + ", ".join(tasks_of(name)))
    about = "; ".join([key.about, *more])
    return f"config.{name:28} {type_name(key.kind):16} {said:26} {about}"


def type_name(annotation: Any) -> str:
    """An annotation as it is written, without the modules of its names."""
    if annotation is Part:
        return "table"
    if annotation in (Any, inspect.Parameter.empty):
        return "any"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(map(type_name, arguments)))
    if annotation in (None, types.NoneType):
        return "None"
    if hasattr(annotation, "dim_str"):
        return "array" if annotation.dim_str else "float"
    if annotation is Ellipsis:
        return "..."
    if origin is not None:
        inside = itertools.chain([origin.__name__, "["], [", ".join(map(type_name, arguments))])
        return "".join((*inside, "]"))
    return getattr(annotation, "__name__", str(annotation))
