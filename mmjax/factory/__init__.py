"""Config -> objects: the tables of all that a config may name, and what makes an experiment of it.

To add an encoder, a fusion, a loss, a metric, a task, a data set or an optimizer: write its file,
and add its line to one of the tables in `encoders`, `fusions`, `losses`, `metrics` and `tables`.
"""

from mmjax.factory.automatic import filled
from mmjax.factory.bind import WEIGHTS, Counts
from mmjax.factory.checkpoints.delta import base
from mmjax.factory.config.asked import asked
from mmjax.factory.config.check import checked
from mmjax.factory.config.override import overridden
from mmjax.factory.config.stored import stored_config
from mmjax.factory.make_experiment import experiment, make_tokenizer, sources
from mmjax.factory.make_model import as_config, example_inputs, kind_of, modalities
from mmjax.factory.make_tasks import tasks, with_known_targets
from mmjax.factory.make_training import make_augment, make_optimizer, make_schedule
from mmjax.factory.tables.encoders import ENCODERS
from mmjax.factory.tables.fusions import FUSIONS
from mmjax.factory.tables.kinds import AUGMENTATIONS, KINDS
from mmjax.factory.tables.losses import CLASS_WEIGHTS, LOSSES
from mmjax.factory.tables.metrics import METRICS
from mmjax.factory.tables.names import (
    DATASETS,
    DTYPES,
    OPTIMIZERS,
    SCHEDULES,
    construct,
    entry,
    lookup,
    options_of,
)
from mmjax.factory.tables.tasks import TASKS
from mmjax.factory.tables.weightings import (
    AGGREGATORS,
    FEATURE_LOSSES,
    LOSS_WEIGHTINGS,
    MODULATORS,
    WEIGHTINGS,
)
from mmjax.factory.tuning import TUNINGS, model, trains

__all__ = [
    "AGGREGATORS",
    "AUGMENTATIONS",
    "CLASS_WEIGHTS",
    "DATASETS",
    "DTYPES",
    "ENCODERS",
    "FEATURE_LOSSES",
    "FUSIONS",
    "KINDS",
    "LOSSES",
    "LOSS_WEIGHTINGS",
    "METRICS",
    "MODULATORS",
    "OPTIMIZERS",
    "SCHEDULES",
    "TASKS",
    "TUNINGS",
    "WEIGHTINGS",
    "WEIGHTS",
    "Counts",
    "as_config",
    "asked",
    "base",
    "checked",
    "construct",
    "entry",
    "example_inputs",
    "experiment",
    "filled",
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
    "tasks",
    "trains",
    "with_known_targets",
]
