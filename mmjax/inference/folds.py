"""Cross-validation: a run for each fold, and of every row what the run says that did not see it."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from mmjax import cli, factory
from mmjax.data.own.examples import TableSplit
from mmjax.data.tables.writing import NUMBER, NUMBERS, open_writer
from mmjax.errors import UserError
from mmjax.factory.config.typed import plain
from mmjax.inference import loading, rows
from mmjax.train import run
from mmjax.train.checkpoints import workdir
from mmjax.train.host.signals import Interrupts
from mmjax.train.reporting import console as show

SCORES_FILE = "folds.json"
PREDICTIONS_FILE = "out_of_fold"
FOLD = "fold"
_logger = logging.getLogger(__name__)


class CrossValidation(NamedTuple):
    """The results of a cross-validation.

    Attributes:
        scores: of each metric of the test split, its value in each fold.
        predictions: of each row of the data, in order: its `fold`, and what the model that was not
            trained on it says, as in a table of predictions. A row that cannot be read, or that
            has no target, has None.
    """

    scores: dict[str, list[float]]
    predictions: list[dict[str, Any] | None]


def cross_validate(
    config: ConfigDict,
    directory: str | Path,
    console: Console,
    interrupts: Interrupts,
    *,
    files: Any = None,
    only_test: bool = False,
    verbose: bool = False,
) -> CrossValidation:
    """Trains once for each of `config.data.folds` folds, each of which is the test split once.

    The runs are in directory/fold_0, fold_1 ...; those that are finished are not repeated. Beside
    them are folds.json with the scores, and out_of_fold.csv, or .jsonl where predictions are lists
    of numbers, with a line for each row of the data, in their order.

    Args:
        config: as a file and a command line say it.
        directory: the workdir.
        console: where tables go.
        interrupts: of signals.
        files: data that are only in Python, in place of config.data.files.
        only_test: trains nothing, and tests the best checkpoints.
        verbose: every line of the log is printed, too.

    Raises:
        UserError: data that have no folds, or whatever is wrong with them or the config.
        Interrupted: after a signal; the same call goes on from there.
    """
    count, name = config.data.folds, config.data.name
    if FOLD not in factory.options_of(factory.entry(factory.DATASETS, name, "config.data.name")):
        raise UserError(
            f"config.data.folds={count}: the data set {name!r} has splits of its own;"
            " folds are of your own data, --config=own"
        )
    if type(count) is not int or count < 2:
        raise UserError(f"config.data.folds={count!r}: give 2 or more, such as 5")
    if config.data.get("options", {}).get("folds"):
        raise UserError("config.data.options.folds is one run of a fold: leave it to data.folds")
    scores: dict[str, list[float]] = {}
    said: dict[int, dict[str, Any]] = {}
    for fold in range(count):
        shown = console if fold == 0 else None
        chosen, splits = factory.filled(_of_fold(config, fold, count), shown, files)
        chosen = factory.checked(chosen)
        console.rule(f"fold {fold + 1} of {count}")
        cli.use_compilation_cache(chosen.compilation_cache)
        path = Path(directory) / f"fold_{fold}"
        if only_test:
            workdir.check_trained(path)
        path, experiment = factory.experiment(chosen, str(path), only_test=only_test, data=splits)
        if only_test:
            results = run.test(experiment, path, console, interrupts)
        else:
            results = run.train(experiment, path, console, interrupts, verbose=verbose)
        for name, value in results.items():
            scores.setdefault(name.removeprefix("test/"), []).append(value)
        held_out: TableSplit = splits["test"]
        model = loading.load(path)
        said |= {place: {FOLD: fold, **cells} for place, cells in _said(model, held_out)}
    show.print_folds(console, scores)
    predictions = [said.get(place) for place in range(len(held_out.table))]
    if jax.process_index() == 0:
        path = Path(directory).expanduser()
        workdir.write_json(path / SCORES_FILE, scores)
        types = {FOLD: NUMBER, **model.outputs.types}
        ending = ".jsonl" if NUMBERS in types.values() else ".csv"
        with open_writer(path / f"{PREDICTIONS_FILE}{ending}", tuple(types), types) as file:
            file.write([prediction or {} for prediction in predictions])
    return CrossValidation(scores, predictions)


def _of_fold(config: ConfigDict, fold: int, count: int) -> ConfigDict:
    tree = plain(config)
    tree["data"] |= {"folds": 0}
    tree["data"]["options"] = {**tree["data"].get("options", {}), "fold": fold, "folds": count}
    return ConfigDict(tree)


def _said(model: Any, split: TableSplit) -> Iterator[tuple[int, dict[str, Any]]]:
    """The place in the table of each row of a split, and the cells that a model adds to it."""
    places = np.asarray(split.rows).tolist()
    found = rows.of_table(split.table, model, places=places)
    answers = (pair for chunk in rows.chunks(found) for pair in rows.answer(chunk, model, None))
    for place, (row, result) in zip(places, answers, strict=True):
        if isinstance(result, UserError):
            _logger.warning("mmjax: %s%s", row.place, result)
        else:
            yield place, model.outputs.of(result)
