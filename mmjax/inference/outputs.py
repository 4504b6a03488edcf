"""What a model says of a row -> columns of a table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mmjax.data.tables import writing
from mmjax.tasks.answers import Cells
from mmjax.tasks.task import Task

EMBEDDING = "embedding_"  # and the name of a modality


class Outputs(NamedTuple):
    """The columns that a table of predictions has besides its own.

    types: of each column, as `mmjax.data.tables.writing` has them.
    of: what `respond` says of a row -> its cells, by column.
    """

    types: Mapping[str, str]
    of: Callable[[Mapping[str, Any]], dict[str, Any]]


def of_answers(cells: Mapping[str, Cells]) -> Outputs:
    """Those of a model that answers: of several tasks the columns have their names at the end.

    Args:
        cells: by task, how its answers stand in a table.
    """
    if len(cells) == 1:
        ((types, of),) = cells.values()
        return Outputs(types, lambda said: dict(zip(types, of(said["answers"]), strict=True)))
    names = {task: [f"{name}_{task}" for name in found.columns] for task, found in cells.items()}
    types = {
        name: kind
        for task, found in cells.items()
        for name, kind in zip(names[task], found.columns.values(), strict=True)
    }

    def of_several(said: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: value
            for task, found in cells.items()
            for name, value in zip(names[task], found.of(said["answers"][task]), strict=True)
        }

    return Outputs(types, of_several)


def of_embeddings(modalities: Sequence[str]) -> Outputs:
    """Those of a model that gives embeddings: lists of numbers, None of what a row lacks."""

    def of(said: Mapping[str, Any]) -> dict[str, Any]:
        return {EMBEDDING + name: said["embeddings"].get(name) for name in modalities}

    return Outputs({EMBEDDING + name: writing.NUMBERS for name in modalities}, of)


def of_tasks(tasks: Mapping[str, Task], modalities: Sequence[str]) -> Outputs:
    """Those of a model that was trained for some tasks."""
    cells = {name: task.cells for name, task in tasks.items() if task.cells is not None}
    return of_answers(cells) if cells else of_embeddings(modalities)
