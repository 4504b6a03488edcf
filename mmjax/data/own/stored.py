"""What a run keeps of its table: which columns each modality reads, and which are asked for."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mmjax.data.columns.cells import CATEGORY, LABELS
from mmjax.data.columns.features import Features
from mmjax.data.columns.infer import TYPES, Column
from mmjax.data.columns.vocabulary import Vocabulary
from mmjax.data.own.inputs import KIND_OF, Wanted
from mmjax.errors import UserError, decoding

_TYPED = {field.name: field.type for field in dataclasses.fields(Column)}
_SAID = ("examples", "note", "problem")  # of a column, for people; files may lie elsewhere by now
_WORDS = (CATEGORY, LABELS)


class Known(NamedTuple):
    """The columns of a run.

    inputs: what each modality reads.
    targets: the columns that are asked for, by name.
    """

    inputs: dict[str, Wanted]
    targets: dict[str, Column]


def to_json(known: Known) -> dict[str, Any]:
    """What `from_json` reads."""
    return {
        "inputs": {name: _of_wanted(wanted) for name, wanted in known.inputs.items()},
        "targets": {name: dataclasses.asdict(c) for name, c in known.targets.items()},
    }


def _of_wanted(wanted: Wanted) -> dict[str, Any]:
    features = wanted.features
    words = None
    if features is not None:
        words = {name: list(found.words) for name, found in features.vocabularies.items()}
    columns = [dataclasses.asdict(column) for column in wanted.columns]
    return {"kind": wanted.kind, "root": wanted.root, "columns": columns, "words": words}


def from_json(stored: Any, where: str) -> Known:
    """The columns that `to_json` stored, exactly.

    Args:
        stored: what a file holds.
        where: the file, for messages.

    Raises:
        UserError: anything in it is not as `to_json` writes it.
    """
    with decoding(f"{where} is damaged", "restore it, or train anew"):
        _require(set(stored) == {"inputs", "targets"}, "not inputs and targets")
        inputs = {name: _wanted(name, found) for name, found in stored["inputs"].items()}
        targets = {name: _column(found) for name, found in stored["targets"].items()}
        _require(bool(inputs), "no inputs")
        for name, column in targets.items():
            _require(name == column.name, f"target {name!r} is column {column.name!r}")
        return Known(inputs, targets)


def _wanted(name: str, stored: Any) -> Wanted:
    _require(set(stored) == {"kind", "root", "columns", "words"}, f"{name}: other keys")
    columns = tuple(_column(found) for found in stored["columns"])
    kinds = {KIND_OF.get(column.type) for column in columns}
    _require(kinds == {stored["kind"]}, f"{name}: {stored['kind']!r} of other columns")
    _require(isinstance(stored["root"], str), f"{name}: root")
    words = stored["words"]
    if words is None:
        _require(len(columns) == 1, f"{name}: several columns without words")
        return Wanted(stored["kind"], columns, None, stored["root"])
    needed = {column.name for column in columns if column.type in _WORDS}
    _require(set(words) == needed, f"{name}: words of other columns")
    for found in words.values():
        are_words = isinstance(found, list) and all(isinstance(word, str) for word in found)
        _require(are_words and len(set(found)) == len(found), f"{name}: words")
    vocabularies = {key: Vocabulary(tuple(found)) for key, found in words.items()}
    return Wanted(stored["kind"], columns, Features(columns, vocabularies), stored["root"])


def _column(stored: Any) -> Column:
    _require(set(stored) == set(_TYPED), "a column has other keys")
    given = dict(stored)
    examples = given["examples"]
    _require(isinstance(examples, list) and all(isinstance(e, str) for e in examples), "examples")
    shape = given["shape"]
    sizes = isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape)
    _require(sizes, "shape")
    given |= {"examples": tuple(examples), "shape": tuple(shape)}
    for key, value in given.items():
        _require(
            key in ("examples", "shape") or type(value) is _TYPED[key],
            f"a column's {key}={value!r}",
        )
    _require(given["type"] in TYPES, f"a column of type {given['type']!r}")
    return Column(**given)


def _require(holds: bool, said: str) -> None:
    if not holds:
        raise ValueError(said)


def check_same(before: Known, now: Known, where: str) -> None:
    """Raises a UserError that names the first column that is not what it was when a run began.

    Args:
        before: of the workdir.
        now: what the data say.
        where: the file of the workdir, for the message.
    """
    change = next(_changes(before, now), "")
    if change:
        raise UserError(
            f"the data are not those that this run began with: {change} ({where}); give those, or"
            " choose another --workdir"
        )


def _changes(before: Known, now: Known) -> Iterator[str]:
    if list(before.inputs) != list(now.inputs):
        yield f"the inputs were {', '.join(before.inputs)} and are {', '.join(now.inputs)}"
        return
    if list(before.targets) != list(now.targets):
        yield f"the targets were {', '.join(before.targets)} and are {', '.join(now.targets)}"
        return
    for name, old in before.inputs.items():
        yield from _changes_of(name, old, now.inputs[name])
    for name, column in before.targets.items():
        yield from _differences(column, now.targets[name])


def _changes_of(name: str, before: Wanted, now: Wanted) -> Iterator[str]:
    if (before.kind, before.root) != (now.kind, now.root):
        yield f"{name!r} was {before.kind} in {before.root!r} and is {now.kind} in {now.root!r}"
    names = [[column.name for column in wanted.columns] for wanted in (before, now)]
    if names[0] != names[1]:
        yield f"{name!r} read the columns {', '.join(names[0])} and reads {', '.join(names[1])}"
        return
    for old, new in zip(before.columns, now.columns, strict=True):
        yield from _differences(old, new)
    words = _words_of(now)
    for column, vocabulary in _words_of(before).items():
        if vocabulary != words.get(column):
            yield f"column {column!r} has other words"


def _words_of(wanted: Wanted) -> Mapping[str, Vocabulary]:
    return {} if wanted.features is None else wanted.features.vocabularies


def _differences(before: Column, now: Column) -> Iterator[str]:
    for key in _TYPED:
        old, new = getattr(before, key), getattr(now, key)
        if key not in _SAID and old != new:
            yield f"column {before.name!r}: {key} was {old!r} and is {new!r}"
