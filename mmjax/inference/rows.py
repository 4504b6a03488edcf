"""Rows of cells -> the inputs of a model, by modality, and what it answers, row by row."""

import itertools
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from mmjax.data.columns.cells import NUMBERS, SERIES
from mmjax.data.own.inputs import Wanted
from mmjax.data.readers.written import from_text, is_json
from mmjax.data.tables.table import Table, plain
from mmjax.errors import UserError, nearest

CHUNK = 256  # rows answered at once
_ARRAYS = (NUMBERS, SERIES)
_logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """A row that is to be answered.

    place: "FILE, line 3: ", for messages; "" for the command line.
    given: cells by name; {} where the row is none.
    error: why it is none, if it is.
    folder: where relative paths in it begin; "" for the current directory.
    """

    place: str
    given: dict[str, Any]
    error: str = ""
    folder: str = ""


@runtime_checkable
class Model(Protocol):
    """What answers rows: a Predictor or a Published.

    modalities: what it takes.
    columns: of a run on a table the columns that each modality reads; {} of others.
    files: the modalities whose strings are paths.
    arrays: those whose strings are JSON or the paths of .npy files.
    """

    modalities: tuple[str, ...]
    columns: Mapping[str, Wanted]
    files: Collection[str]
    arrays: Collection[str]

    def respond(self, rows: Sequence[Mapping[str, Any]], *, top: int | None) -> list[dict]: ...

    def check(self, row: Mapping[str, Any]) -> None: ...


def names_of(model: Model) -> tuple[str, ...]:
    """The columns that a model reads of a table: those of its training, or its modalities."""
    if not model.columns:
        return model.modalities
    read = itertools.chain(*(model.columns[name].columns for name in model.modalities))
    return tuple(dict.fromkeys(column.name for column in read))


def inputs_of(model: Model, row: Row) -> dict[str, Any]:
    """What the readers of a model take of a row, by modality; None for what is missing.

    Each modality is given by the columns that it read in training, or by its own name.

    Raises:
        UserError: a cell is not of its type, its file is not there, or nothing is given.
    """
    found = {name: _input(model, name, row) for name in model.modalities}
    if all(value is None for value in found.values()):
        known = tuple(dict.fromkeys((*names_of(model), *model.modalities)))
        hint = nearest(next((key for key in row.given if key not in known), ""), known)
        raise UserError(f"nothing to predict from: give {' or '.join(names_of(model))}; {hint}")
    return found


def _input(model: Model, name: str, row: Row) -> Any:
    wanted, value = model.columns.get(name), row.given.get(name)
    by_columns = wanted is not None and any(c.name in row.given for c in wanted.columns)
    if not by_columns or isinstance(value, Mapping):
        is_path = name in model.files or (name in model.arrays and not _is_json(value))
        return _located(value, row.folder) if is_path else value
    cells = {column.name: row.given.get(column.name) for column in wanted.columns}
    first = cells[wanted.columns[0].name]
    if wanted.columns[0].type in _ARRAYS and isinstance(first, str) and not _is_json(first):
        return _located(first, row.folder) if first.strip() else None
    try:
        parsed = wanted.parse(cells, row.folder)
        return None if parsed is None else wanted.together([parsed])[0]
    except (ValueError, UserError) as error:
        raise UserError(f"{name}: {error}") from error


def _is_json(value: Any) -> bool:
    return isinstance(value, str) and is_json(value)


def _located(value: Any, folder: str) -> Any:
    return os.path.join(folder, value) if folder and isinstance(value, str) else value


def with_cells(read: Callable, wanted: Wanted, name: str) -> Callable:
    """A reader of vectors that also takes the cells of a row, by column; see Features.

    Args:
        read: vectors -> input.
        wanted: the columns of the modality.
        name: of it, for messages.
    """
    features = wanted.features
    known = [column.name for column in wanted.columns]

    def vector(value: Any) -> Any:
        value = from_text(value, name)
        if not isinstance(value, Mapping):
            return value
        for key in value:
            if key not in known:
                raise UserError(f"{name}: no column {key!r}; {nearest(str(key), known)}")
        try:
            return features.vector({column: plain(value.get(column)) for column in known})
        except ValueError as error:
            raise UserError(f"{name}: {error}") from error

    return read if features is None else lambda values: read([vector(value) for value in values])


def of_table(
    table: Table,
    model: Model,
    columns: Sequence[str] | None = None,
    places: Iterable[int] | None = None,
) -> Iterator[Row]:
    """The rows of a table, one at a time; one that cannot be read says why.

    Args:
        table: any.
        model: whose columns are looked for first.
        columns: that are read; None: all.
        places: of the rows that are read; None: all.

    Raises:
        UserError: none of the columns that the model reads is there.
    """
    wanted = names_of(model)
    lacking = [name for name in wanted if name not in table.columns]
    if len(lacking) == len(wanted):
        hints = [nearest(name, table.columns) for name in wanted]
        hint = next((hint for hint in hints if "did you mean" in hint), hints[0])
        raise UserError(f"{table.name}: no column {' or '.join(map(repr, wanted))}; {hint}")
    for name in lacking:
        hint = nearest(name, table.columns)
        _logger.warning("%s: no column %r: it is missing in all rows; %s", table.name, name, hint)
    chosen = range(len(table)) if places is None else places
    return (_row(table, index, columns) for index in chosen)


def _row(table: Table, index: int, columns: Sequence[str] | None) -> Row:
    place = table.where(index)
    try:
        return Row(f"{place}: ", table.read(index, columns), "", table.folder(index))
    except UserError as error:
        return Row(f"{place}: ", {}, str(error).removeprefix(place).lstrip(": "))


def of_modalities(rows: Iterable[Row], model: Model) -> dict[str, list[Any]]:
    """The inputs of rows, by modality; raises a UserError for the first that cannot be used."""
    found: dict[str, list[Any]] = {name: [] for name in model.modalities}
    for row in rows:
        try:
            if row.error:
                raise UserError(row.error)
            for name, value in inputs_of(model, row).items():
                found[name].append(value)
        except UserError as error:
            raise UserError(f"{row.place}{error}") from error
    return found


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in groups of CHUNK, which are answered together."""
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, CHUNK)):
        yield chunk


def answer(
    rows: Sequence[Row], model: Model, top: int | None, reserved: Collection[str] = ()
) -> Iterator[tuple[Row, dict[str, Any] | UserError]]:
    """Each row with what the model says of it, or with the UserError that it met.

    Args:
        rows: some.
        model: what answers them.
        top: how many answers.
        reserved: names that no cell may have, since they are written.
    """
    found: list[dict | UserError | None] = []
    given: list[dict[str, Any]] = []
    for row in rows:
        inputs, error = _tried(_checked, model, row, reserved)
        given.append(inputs)
        found.append(error)

    def run() -> None:
        places = [i for i, result in enumerate(found) if result is None]
        results = model.respond([given[i] for i in places], top=top) if places else ()
        for i, result in zip(places, results, strict=True):
            found[i] = result

    try:
        run()
    except UserError:
        for i, result in enumerate(found):
            found[i] = _tried(model.check, given[i])[1] if result is None else result
        run()  # what is wrong with all of them is raised again
    yield from zip(rows, found, strict=True)


def _checked(model: Model, row: Row, reserved: Collection[str]) -> dict[str, Any]:
    if row.error:
        raise UserError(row.error)
    taken = [key for key in row.given if key in reserved]
    if taken:
        raise UserError(f"{taken[0]!r} is a name of what is written: rename it")
    return inputs_of(model, row)


def _tried(function: Callable, *arguments: Any) -> tuple[Any, UserError | None]:
    try:
        return function(*arguments), None
    except UserError as error:
        return None, error
