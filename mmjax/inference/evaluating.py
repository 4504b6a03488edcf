"""A trained model and a table with the answers -> the metrics, as of a test split."""

import functools
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from ml_collections import ConfigDict

from mmjax import factory
from mmjax.data.columns.cells import CATEGORY
from mmjax.data.columns.infer import Column
from mmjax.data.own.asked import known_target
from mmjax.data.own.collect import collect
from mmjax.data.own.examples import TableExamples, TableSplit
from mmjax.data.own.own import reported
from mmjax.data.pipeline import loader
from mmjax.data.tables.opening import open_table
from mmjax.data.tables.table import Table
from mmjax.errors import UserError, nearest
from mmjax.tasks.keyed import TUNED
from mmjax.train import sharding
from mmjax.train.evaluate import evaluate as over_batches
from mmjax.train.step import eval_step

_SLICE_BY = "\0slice"  # beside columns of any name


@runtime_checkable
class Trained(Protocol):
    """What a Predictor knows; see there."""

    model: Any
    variables: Mapping[str, Any]
    modalities: tuple[str, ...]
    readers: Mapping[str, Any]
    config: ConfigDict
    directory: Any
    columns: Mapping[str, Any]
    targets: Mapping[str, Column]
    vocabularies: Mapping[str, tuple]
    tuned: Mapping[str, Mapping[str, np.ndarray]]
    batch_size: int


def evaluate(trained: Trained, data: Any) -> dict[str, float]:
    """Each loss and metric over the rows of a table, by the names that the test split's have.

    Args:
        trained: a model of a run on a table.
        data: whatever open_table takes, with the columns of the training and the targets. A row
            without a target does not count; over 1 % of rows that cannot be read are an error.

    Raises:
        UserError: a model that was not trained on a table, a column that is missing, a class that
            the model does not know, or no row that counts.
    """
    if not trained.columns:
        raise UserError(
            "evaluate is of models that were trained on a table; of others, use mmjax --mode=eval"
        )
    table = open_table(data)
    split = _split(trained, table)
    split, questions = factory.with_known_targets(trained.config, trained.directory, split)
    tasks = factory.tasks(trained.config, questions)
    slices = split.slices if len(split.slices) > 1 else ()
    mesh = sharding.make_mesh(
        data=1, fsdp=1, tensor=1, rows=(trained.batch_size,), devices=jax.devices()[:1]
    )
    examples = TableExamples(split, {name: trained.readers[name] for name in trained.modalities})
    step = functools.partial(eval_step, model=trained.model, tasks=tasks, slices=slices)
    found = over_batches(
        jax.jit(step),
        trained.variables,
        loader.eval_batches(examples, loader.Reading(batch_rows=trained.batch_size)),
        functools.partial(sharding.put_batch, mesh=mesh),
        split=table.name,
        tasks=tasks,
        slices=slices,
        tuned={
            task: {TUNED + name: values for name, values in of_task.items()}
            for task, of_task in trained.tuned.items()
        },
    )
    return found.metrics


def _split(trained: Trained, table: Table) -> TableSplit:
    """The rows of a table with the targets of a run."""
    wanted = dict(trained.targets)
    slice_by = trained.config.data.options.get("slice_by", "")
    if slice_by:
        wanted[_SLICE_BY] = Column(slice_by, CATEGORY, len(table), 0, 0)
    inputs = {name: trained.columns[name] for name in trained.modalities}
    read = [column for known in inputs.values() for column in known.columns]
    for column in (*read, *wanted.values()):
        if column.name not in table.columns:
            hint = nearest(column.name, table.columns)
            raise UserError(f"{table.name}: no column {column.name!r}; {hint}")
    collected = collect(table, wanted)
    classes = _classes(trained)
    slice_ids, slices = reported(collected.columns.get(_SLICE_BY), len(table))
    return TableSplit(
        name=table.name,
        table=table,
        rows=np.arange(len(table)),
        inputs=inputs,
        targets={
            name: known_target(table.name, column, collected, classes.get(name, ()))
            for name, column in trained.targets.items()
        },
        slice_ids=slice_ids,
        slices=slices,
    )


def _classes(trained: Trained) -> dict[str, tuple]:
    """The classes of each target: those of the task that asks for it."""
    found = {}
    for name, task in factory.asked(trained.config).items():
        target = task.get("target") or next(iter(trained.targets), "")
        found[target] = trained.vocabularies.get(name, ())
    return found
