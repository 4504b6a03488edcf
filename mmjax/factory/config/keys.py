"""The table of a config's keys: what each is, of which type and range, and what it is without one.

A key is absent, and means what `about` says, or has a default, or must be there. What is inside
parts that a name chooses, such as config.fusion, is said by those parts: see `parts`.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from mmjax.data.pipeline.resampling import POWERS
from mmjax.factory.tables.names import DATASETS, DTYPES, OPTIMIZERS, SCHEDULES
from mmjax.factory.tables.tasks import TASKS
from mmjax.models.decision import COMBINATIONS
from mmjax.train.parallel import PARALLEL

REQUIRED, ABSENT = object(), object()
Names = tuple[str, ...]
Part = dict  # the type of a part: its own options say what it may hold


class Key(NamedTuple):
    """What is known of a key.

    kind: its type as an annotation.
    about: what it is.
    default: REQUIRED, ABSENT or what it is without one.
    least, most: the range of a number, ends included.
    below: what a number does not reach.
    names: what a text may be, if that is known.
    open: whether it may also be an import path.
    """

    kind: Any
    about: str
    default: Any = REQUIRED
    least: float | None = None
    most: float | None = None
    below: float | None = None
    names: Collection[str] = ()
    open: bool = False

    def range(self) -> str:
        """The range in words."""
        ends = [f"{self.least} or more"] if self.least is not None else []
        ends += [f"{self.most} at most"] if self.most is not None else []
        ends += [f"less than {self.below}"] if self.below is not None else []
        return ", ".join(ends)


def _count(about: str, default: Any = REQUIRED, least: int = 1) -> Key:
    return Key(int, about, default, least=least)


# Of a task: of the only one they stand beside `task`, of each of several in config.tasks.NAME.
ONE_TASK: Mapping[str, Key] = {
    "target": Key(str, "of the data set, which is to be answered; '': the first", ""),
    "slice": Key(str, "of the data set: only its examples are asked; '': all", ""),
    "losses": Key(Part, "the losses, by label, or a tuple of names", ABSENT),
    "metrics": Key(Part, "the metrics, by label, or a tuple of names", {}),
    "head": Key(Part, "from fused vectors or tokens to scores or numbers", {}),
}
TASK_KEYS: Mapping[str, Key] = {
    "name": Key(str, "what is asked of the model", names=TASKS, open=True),
    "weight": Key(float, "of its loss beside those of other tasks", 1.0, least=0),
    "modalities": Key(Names, "that it reads, through a fusion of their own; (): all", ()),
    **ONE_TASK,
}
KEYS: Mapping[str, Key] = {
    "seed": Key(int, "seed of all random numbers", 0, least=0, most=2**32 - 1),
    "task": Key(str, "what the model learns to do", ABSENT, names=TASKS, open=True),
    "tasks": Key(Part, "several tasks by name, each with keys of TASK_KEYS", {}),
    "modalities": Key(Names, "the names of the model's inputs"),
    "dtype": Key(str, "type of the computation", "float32", names=DTYPES),
    "width": _count("width D of tokens and fused vectors", ABSENT),
    "init_from": Key(str, "workdir or published checkpoint to start from", ""),
    "data.name": Key(str, "the data set", names=DATASETS, open=True),
    "data.options": Key(Part, "options of the data set", {}),
    "data.dir": Key(str, "where data sets are downloaded and prepared", "~/.cache/mmjax/data"),
    "data.cache": Key(bool, "keep decoded files in memory", ABSENT),
    "data.image_size": _count("side of images, in pixels", ABSENT),
    "data.text_length": _count("length L of texts, in words", ABSENT),
    "data.files": Key(Any, "files or folders of your own data, or these by split", ABSENT),
    "data.target": Key(str | Names, "the columns of your own data that are predicted", ABSENT),
    "data.folds": _count("folds of a cross-validation, a run for each; 0: one run", 0, least=0),
    "data.columns": Key(Part, "column of the data set that a modality reads", {}),
    "data.shapes": Key(Part, "shape of one example, by modality", {}),
    "data.batch_size": _count("examples in a batch", ABSENT),
    "data.images_per_batch": _count("images in a batch, each with its questions", ABSENT),
    "data.questions_per_image": _count(
        "questions per image; 0: one image for each", ABSENT, least=0
    ),
    "data.resample": Key(str, "how to oversample rare classes", "", names=("", *POWERS)),
    "data.cut": Key(bool, "cut sounds and series that are too long, or refuse them", False),
    "data.scale_features": Key(bool, "standardise vectors and series", True),
    "data.workers": _count("processes that prepare batches", 0, least=0),
    "data.threads": _count("threads that prepare batches, per process", 1, least=0),
    "data.prefetch": _count("batches prepared ahead", 4, least=0),
    "encoders": Key(Part, "the encoder of each modality, by name", {}),
    "fusion": Key(Part, "combines all modalities", ABSENT),
    "decision": Key(
        str,
        "combines a decision for each modality",
        "",
        names=("", *COMBINATIONS),
        open=True,
    ),
    "mixup": Key(float, "alpha of the mixup of fused vectors", 0.0, least=0),
    "modality_dropout": Key(float, "share of modalities dropped in training", 0.0, 0, below=1),
    "teachers": Key(Part, "workdirs whose encoders are learned from, by modality", {}),
    "model": Key(Part, "a published dual encoder, such as CLIP", ABSENT),
    "alignment": Key(Part, "projections into the shared space, such as {'embedding': 64}", ABSENT),
    "matching": Key(Part, "a fusion that recognises matching pairs", ABSENT),
    "critic": Key(Part, "a discriminator of modalities", ABSENT),
    **ONE_TASK,
    "weighting": Key(Part, "how tasks weigh against each other", {"name": "fixed"}),
    "augment": Key(Part, "augmentations by modality and name", {}),
    "tuning": Key(Part, "which parameters train, and what is added", {"name": "full"}),
    "optimizer.name": Key(str, "the optimizer", names=OPTIMIZERS, open=True),
    "optimizer.options": Key(Part, "options of the optimizer", {}),
    "optimizer.schedule": Key(str, "schedule of the learning rate", names=SCHEDULES, open=True),
    "optimizer.learning_rate": Key(float, "peak learning rate", least=0),
    "optimizer.warmup_steps": _count("steps of linear warm-up", 0, least=0),
    # Absent: as the schedule has it.
    "optimizer.end_factor": Key(
        float, "share of the learning rate at the last step", ABSENT, least=0
    ),
    "optimizer.clip_norm": Key(float, "clip gradients to this norm; 0: never", 0.0, least=0),
    "optimizer.accumulate": _count("batches for one update", 1),
    "optimizer.ema": Key(float, "decay of averaged parameters; 0: none", 0.0, 0, below=1),
    "optimizer.freeze": Key(Names, "regular expressions of parameters to freeze", ()),
    "optimizer.layer_decay": Key(float, "layer-wise decay of the learning rate", 1.0, most=1),
    "optimizer.unfreeze": Key(Any, "(pattern, step) pairs: trains from that step", ()),
    "train.steps": _count("number of training steps"),
    "train.baselines": Key(bool, "compare with linear models and each modality alone", False),
    "train.minutes": Key(
        float, "of training at most, by a first measurement; 0: no limit", 0.0, least=0
    ),
    "train.log_every": _count("steps between log lines; 0: never", 100, least=0),
    "train.eval_every": _count("steps between evaluations; 0: at the end", 0, least=0),
    "train.checkpoint_every": _count("steps between checkpoints", 0, least=0),
    "train.keep": _count("recent checkpoints to keep, besides the best", 1),
    "train.monitor": Key(str, "metric that picks the best checkpoint"),
    "train.mode": Key(str, "whether higher or lower is better", names=("max", "min")),
    "train.patience": _count("stop after so many without progress; 0: never", 0, least=0),
    "train.max_skipped": _count("non-finite steps in a row before an error", 10),
    "train.delta_checkpoints": Key(bool, "leave frozen published weights out", False),
    "parallel": Key(
        str, "how devices take a step: one program for all, or one on each", "auto", names=PARALLEL
    ),
    "mesh.data": Key(int, "data-parallel devices; -1: all that are left", -1, least=-1),
    "mesh.fsdp": _count("devices that shard batch and parameters", 1),
    "mesh.tensor": _count("tensor-parallel devices", 1),
    "compilation_cache": Key(
        str, "folder of compiled programs; '': none", "~/.cache/mmjax/compiled"
    ),
}
GROUPS = tuple(dict.fromkeys(key.partition(".")[0] for key in KEYS if "." in key))


def keys_of(group: str) -> dict[str, Key]:
    """The keys of a group such as "data", without its name; of "" the keys that are in none."""
    if not group:
        return {key: k for key, k in KEYS.items() if "." not in key}
    return {k.partition(".")[2]: v for k, v in KEYS.items() if k.startswith(f"{group}.")}
