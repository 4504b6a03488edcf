"""A model beside others on the test split: the trivial, linear ones, and itself of one modality."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from mmjax.tasks.task import prefix
from mmjax.train.checkpoints import workdir
from mmjax.train.evaluate import Evaluation
from mmjax.train.reporting import console as show


def without(batch: Mapping[str, np.ndarray], names: Iterable[str]) -> dict[str, np.ndarray]:
    """A batch in which some modalities are missing."""
    keys = [f"{name}_mask" for name in names]
    return {**batch, **{key: np.zeros_like(batch[key]) for key in keys}}


def compare(run: Any, variables: Any, result: Evaluation, tuned: Any) -> None:
    """Prints each task's result beside those of other models, and stores them in the workdir.

    Args:
        run: a Run whose experiment has baselines.
        variables: of the model.
        result: of the test split.
        tuned: by task, what was tuned on the validation split.
    """
    tasks, names = run.experiment.tasks, list(run.experiment.example)
    alone = {n: run.evaluate(variables, "test", tuned, n) for n in names if len(names) > 1}
    found = {}
    for name, given in run.experiment.baselines().items():
        key, rows = prefix(tasks, name) + given.metric, result.rows[name]
        if key not in result.metrics:
            continue
        scores = dict(tasks[name].baselines(rows)) | dict(given.scores)
        scores |= {f"this model, {n} alone": e.metrics[key] for n, e in alone.items()}
        found[name] = {given.metric: scores | {"this model": result.metrics[key]}}
    show.print_baselines(run.console, found)
    if jax.process_index() == 0:
        workdir.write_json(run.directory / workdir.BASELINES_FILE, found)
