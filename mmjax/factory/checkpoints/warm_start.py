"""config.init_from -> what a run starts with instead of drawn values, and a report of it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from mmjax.data.pipeline import tokenizer
from mmjax.errors import UserError
from mmjax.factory.checkpoints import delta, pretrained, scanned
from mmjax.factory.make_model import kind_of
from mmjax.interop.weights.checkpoint import open_checkpoint
from mmjax.interop.weights.recognition import architecture_of
from mmjax.interop.weights.variables import read_variables
from mmjax.train.checkpoints import workdir
from mmjax.train.checkpoints.checkpoint import Checkpoints
from mmjax.train.state import Slices

Flat = dict[tuple[str, ...], Any]
SHOWN = 4  # names in a message


class Names(NamedTuple):
    """What a model has entries for, in the order of their numbers.

    classes: of each task; of the only one under "".
    words: its vocabulary.
    """

    classes: Mapping[str, tuple[str, ...]]
    words: tuple[str, ...]


def taken(
    config: ConfigDict, make: Callable[..., Any], example: Any, new: Names
) -> tuple[dict[str, Any], list[str]]:
    """What `config.init_from` gives of a model's variables, by collection and path.

    An array is taken where the model has one of the same path and shape. Of an array with an entry
    for each class or word, the entries of the classes and words that both have are taken, by name:
    two data sets may number them differently.

    Args:
        config: of the run that starts.
        make: of its model: (*, classes, vocabulary_size) -> the Linen module.
        example: inputs of one row, to initialise the model with.
        new: its classes and its vocabulary.

    Returns:
        Variables, where some are `Slices` of what is there, and lines that say what was taken, what
        was not and why.

    Raises:
        UserError: there is nothing at this path, or nothing in it fits.
    """
    path, old, of = Path(config.init_from).expanduser(), new, ""
    if workdir.has_checkpoints(path):
        given, step = trained(path, "config.init_from")
        old, of = names_in(path, reads_words=bool(new.words)), f" (step {step})"
    else:
        given = _published(config, path)
    wanted = _shapes(make, example, new, grown=0)
    given = scanned.in_form_of(wanted, given)
    # One word, two classes of a task, three of the next: how much an axis grows says what it has an
    # entry for each of.
    grown = _shapes(make, example, new, grown=1)
    found: Flat = {}
    partly, unlike = [], []
    for name in sorted(wanted.keys() & given.keys()):
        shape, array = wanted[name].shape, np.asarray(given[name])
        growth = [more - size for size, more in zip(shape, grown[name].shape, strict=True)]
        same = old == new or not any(growth)
        entries = None if same else _by_name(array, shape, growth, new, old)
        if entries is not None:
            found[name] = entries
            partly.append(_path(name))
        elif same and array.shape == shape:
            found[name] = array
        else:
            sizes = f"{list(array.shape)} there and {list(shape)} here"
            unlike.append(f"{_path(name)} is {sizes}" + ("" if same else ", by class or word"))
    if not found:
        raise UserError(
            f"config.init_from={config.init_from}: nothing in it has a place in this model; it has"
            f" {_some(list(map(_path, given)))}, and the model {_some(list(map(_path, wanted)))}"
        )
    left = sorted(map(_path, given.keys() - found.keys()))
    notes = [f"init_from {path}{of}: took {len(found)} of {len(wanted)} arrays"]
    if partly:
        notes.append(f"only what both have, by the name of class or word, of {_some(partly)}")
    notes += [f"not taken: {line}" for line in unlike]
    notes.append(f"left over there: {len(left)} arrays" + (f" ({_some(left)})" if left else ""))
    return unflatten_dict(found), notes


def _shapes(make: Callable[..., Any], example: Any, names: Names, *, grown: int) -> Flat:
    counts = {t: len(c) + grown * i for i, (t, c) in enumerate(names.classes.items(), 2)}
    classes = counts.get("", counts)
    made = make(classes=classes, vocabulary_size=len(names.words) + grown)
    shapes = jax.eval_shape(lambda key: made.init(key, example), jax.random.PRNGKey(0))
    return flatten_dict(dict(shapes))


def _path(name: tuple[str, ...]) -> str:
    return "/".join(name[1:])  # without the collection


def _by_name(
    array: np.ndarray, shape: tuple[int, ...], growth: Sequence[int], new: Names, old: Names
) -> Slices | None:
    """The entries of the classes and words that both have; None if another axis differs."""
    here, there = [], []
    for axis, more in enumerate(growth):
        names = {0: (range(shape[axis]),) * 2, 1: (new.words, old.words)}
        names |= {i: (c, old.classes.get(t, ())) for i, (t, c) in enumerate(new.classes.items(), 2)}
        if array.ndim != len(shape) or more not in names:
            return None
        ours, theirs = names[more]
        if shape[axis] != len(ours) or array.shape[axis] != len(theirs):
            return None
        number = {name: i for i, name in enumerate(theirs)}
        both = [(i, number[name]) for i, name in enumerate(ours) if name in number]
        if not both:
            return None
        here.append(np.array([i for i, _ in both]))
        there.append(np.array([i for _, i in both]))
    return Slices(shape, tuple(here), array[np.ix_(*there)])


def names_in(path: Path, *, reads_words: bool) -> Names:
    """The classes of a workdir's tasks, and if it has one its vocabulary."""
    file = path / workdir.TOKENIZER_FILE
    words = tokenizer.words(tokenizer.load(file)) if reads_words and file.exists() else ()
    found = workdir.read_json(path / workdir.LABELS_FILE)
    found = found if isinstance(found, dict) else {"": found}
    return Names({task: tuple(names) for task, names in found.items()}, words)


def trained(path: Path, where: str) -> tuple[Flat, int]:
    """The variables in the best checkpoint of a workdir, averages before what they are of.

    Args:
        path: of the workdir.
        where: the config key that names it, for errors.

    Raises:
        UserError: it cannot be read, or keeps only what trained.
    """
    if (path / delta.FILE).exists():
        raise UserError(
            f"{where}={path}: it was trained with config.train.delta_checkpoints, and its"
            " checkpoints lack the rest of the model; name a run that keeps all"
        )
    checkpoints = Checkpoints(path)
    step = checkpoints.best_step()
    if step is None:
        raise UserError(f"{where}={path}: nothing was trained in it yet")
    reader = ocp.PyTreeCheckpointer()
    stored = reader.metadata(checkpoints.directory / str(step) / "state").item_metadata.tree
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def read(field: str, other: str = "") -> Flat:
        shapes = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device)
            for name, leaf in flatten_dict(stored.get(field) or {}).items()
            if hasattr(leaf, "shape")
        }
        if not shapes:
            return {}
        wanted = {field: unflatten_dict(shapes)}
        rest = {other: stored[other]} if other and stored.get(other) else {}
        rest = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), rest
        )
        return flatten_dict(dict(checkpoints.restore_variables(step, wanted | rest)))

    return read("params", "model_state") | read("ema_params"), step


def _published(config: ConfigDict, path: Path) -> Flat:
    """The backbones of somebody's checkpoint, where encoders of the config have theirs."""
    checkpoint = open_checkpoint(path)
    architecture = architecture_of(checkpoint, np.float32)
    found: Flat = {}
    chosen = [n for n in pretrained.chosen(config) if kind_of(config, n) in architecture.parts]
    for name in chosen:
        variables, _ = read_variables(
            checkpoint, architecture, architecture.parts[kind_of(config, name)].path
        )
        for collection, values in variables.items():
            for below, array in flatten_dict(dict(values)).items():
                found[(collection, f"encoders_{name}", "backbone", *below)] = array
    if not found:
        raise UserError(
            f"config.init_from={path}: a published model starts encoders of name"
            f" {pretrained.NAME!r} for {' or '.join(sorted(architecture.parts)) or 'nothing'}; set"
            f" config.encoders.NAME = mmjax.pretrained({str(path)!r})"
        )
    return found


def _some(names: Sequence[str]) -> str:
    more = ", …" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
