"""What a workdir has stored of a trained model."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.checkpoints.delta import base
from mmjax.factory.tuning import trains
from mmjax.train.checkpoints.checkpoint import Checkpoints
from mmjax.train.partition import to_restore


def restored(config: ConfigDict, path: Path, abstract: Any, step: int | None) -> dict[str, Any]:
    """The variables in a checkpoint of a workdir, by default in the best one.

    Raises:
        UserError: there is no such checkpoint, or it does not fit.
    """
    params = abstract.pop("params")
    checkpoints = Checkpoints(path, base=base(config, path, params))
    steps = checkpoints.steps()
    if not steps:
        raise UserError(f"no checkpoint in {path}; train first, with mmjax.main --workdir={path}")
    step = checkpoints.best_step() if step is None else step
    if step not in steps:
        raise UserError(f"no checkpoint of step {step} in {path}; there are {steps}")
    wanted = to_restore(params, trains(config, params), ema=config.optimizer.ema > 0)
    return checkpoints.restore_variables(step, wanted | {"model_state": abstract})
