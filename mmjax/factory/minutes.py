"""config.train.minutes: as many steps as fit into them, and the same ones when a run goes on."""

import math
from pathlib import Path

from ml_collections import ConfigDict

from mmjax.factory.config.stored import stored_config
from mmjax.train.budget import affordable_steps
from mmjax.train.checkpoints import workdir
from mmjax.train.experiment import Experiment

# Keys that count steps, besides train.steps.
OF_STEPS = (
    *(("train", key) for key in ("log_every", "eval_every", "checkpoint_every")),
    ("optimizer", "warmup_steps"),
)


def within_minutes(config: ConfigDict, experiment: Experiment, path: Path, kept: int) -> ConfigDict:
    """A config with no more steps than fit into config.train.minutes; intervals shrink as much.

    Args:
        config: of the run.
        experiment: the run.
        path: its workdir.
        kept: batches of an epoch that is kept in memory once it was read; 0 if none is.
    """
    prepared = max(config.data.prefetch, kept)
    affordable = affordable_steps(experiment, path, 60 * config.train.minutes, prepared)
    if affordable >= config.train.steps:
        return config
    share = affordable / config.train.steps
    config = ConfigDict(config)
    config.train.steps = affordable
    for part, key in OF_STEPS:
        if config[part][key]:
            config[part][key] = max(1, math.ceil(config[part][key] * share))
    return config


def with_stored_steps(config: ConfigDict, directory: str) -> ConfigDict:
    """A config with the steps of a run that goes on, where its time was measured once."""
    path = Path(directory).expanduser()
    if not (config.train.minutes and workdir.has_config(path) and workdir.has_checkpoints(path)):
        return config
    stored = stored_config(path)
    if stored.train.minutes != config.train.minutes:
        return config
    config = ConfigDict(config)
    for part, key in (("train", "steps"), *OF_STEPS):
        config[part][key] = stored[part][key]
    return config
