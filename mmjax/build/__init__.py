"""Config -> objects: the tables of all that a config may name, and what makes an experiment of it.

To add an encoder, a fusion, a loss, a metric, a task, a data set or an optimizer: write its file,
and add its line to one of the tables in `encoders`, `fusions`, `losses`, `metrics` and `tables`.
"""

from mmjax.build.bind import WEIGHTS, Counts, weights
from mmjax.build.check import checked
from mmjax.build.encoders import ENCODERS
from mmjax.build.frozen_base import base
from mmjax.build.fusions import FUSIONS
from mmjax.build.losses import CLASS_WEIGHTS, LOSSES
from mmjax.build.make_experiment import experiment, make_tokenizer, sources
from mmjax.build.make_model import (
    as_config,
    example_inputs,
    kind_of,
    modalities,
    task,
)
from mmjax.build.make_training import make_augment, make_optimizer, make_schedule
from mmjax.build.metrics import METRICS
from mmjax.build.override import overridden
from mmjax.build.stored import stored_config
from mmjax.build.tables import (
    AUGMENTATIONS,
    DATASETS,
    DTYPES,
    OPTIMIZERS,
    SCHEDULES,
    TASKS,
    construct,
    lookup,
    options_of,
)
from mmjax.build.tuning import TUNINGS, model, trains

__all__ = [
    "AUGMENTATIONS",
    "CLASS_WEIGHTS",
    "DATASETS",
    "DTYPES",
    "ENCODERS",
    "FUSIONS",
    "LOSSES",
    "METRICS",
    "OPTIMIZERS",
    "SCHEDULES",
    "TASKS",
    "TUNINGS",
    "WEIGHTS",
    "Counts",
    "as_config",
    "base",
    "checked",
    "construct",
    "example_inputs",
    "experiment",
    "kind_of",
    "lookup",
    "make_augment",
    "make_optimizer",
    "make_schedule",
    "make_tokenizer",
    "modalities",
    "model",
    "options_of",
    "overridden",
    "sources",
    "stored_config",
    "task",
    "trains",
    "weights",
]
