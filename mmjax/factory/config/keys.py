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
    "losses": Key(Part, "the losses, by label, or a tuple of names", ABSENT),
    "metrics": Key(Part, "the metrics, by label, or a tuple of names", {}),
    "head": Key(Part, "from fused vectors or tokens to scores or numbers", {}),
}
TASK_KEYS: Mapping[str, Key] = {
    "name": Key(str, "what is asked of the model", names=TASKS, open=True),
    "weight": Key(float, "of its loss beside those of other tasks", 1.0, least=0),
    **ONE_TASK,
}
KEYS: Mapping[str, Key] = {
    "seed": Key(int, "of all random numbers", 0, least=0, most=2**32 - 1),
    "task": Key(str, "what is asked of the model", ABSENT, names=TASKS, open=True),
    "tasks": Key(Part, "several tasks by name, each with keys of TASK_KEYS", {}),
    "modalities": Key(Names, "the names of the model's inputs"),
    "dtype": Key(str, "of the computation", "float32", names=DTYPES),
    "width": _count("D of tokens and fused vectors", ABSENT),
    "init_from": Key(str, "the workdir or published checkpoint that a run starts from", ""),
    "data.name": Key(str, "the data set", names=DATASETS, open=True),
    "data.options": Key(Part, "of the data set", {}),
    "data.dir": Key(str, "where data are found and prepared", "~/.cache/mmjax/data"),
    "data.cache": Key(bool, "whether decoded pictures stay in memory", ABSENT),
    "data.image_size": _count("of pictures, in pixels", ABSENT),
    "data.text_length": _count("L of texts, in words", ABSENT),
    "data.columns": Key(Part, "what of the data set a modality reads, if it has another name", {}),
    "data.shapes": Key(Part, "of one example of each modality, by name", {}),
    "data.batch_size": _count("examples of a batch", ABSENT),
    "data.images_per_batch": _count("images of a batch, with questions", ABSENT),
    "data.questions_per_image": _count("0: each question with its own image", ABSENT, least=0),
    "data.resample": Key(str, "how often rare classes are drawn", "", names=("", *POWERS)),
    "data.scale_features": Key(bool, "whether vectors and series are scaled by training", True),
    "data.workers": _count("processes that prepare batches", 0, least=0),
    "data.threads": _count("that prepare batches, in each process", 1, least=0),
    "data.prefetch": _count("batches kept ready", 4, least=0),
    "encoders": Key(Part, "the encoder of each modality, by name", {}),
    "fusion": Key(Part, "what makes one of all modalities", ABSENT),
    "decision": Key(str, "how decisions are fused", "", names=("", *COMBINATIONS)),
    "mixup": Key(float, "alpha of the mixup of fused vectors", 0.0, least=0),
    "model": Key(Part, "a published model of one space", ABSENT),
    "alignment": Key(Part, "the projections into one space, such as {'embedding': 64}", ABSENT),
    "matching": Key(Part, "a fusion that tells matching pairs", ABSENT),
    "critic": Key(Part, "what tells modalities apart", ABSENT),
    **ONE_TASK,
    "augment": Key(Part, "augmentations by modality and name", {}),
    "tuning": Key(Part, "what trains of a model, and what is added to it", {"name": "full"}),
    "optimizer.name": Key(str, "the optimizer", names=OPTIMIZERS, open=True),
    "optimizer.options": Key(Part, "of the optimizer", {}),
    "optimizer.schedule": Key(str, "of the learning rate", names=SCHEDULES, open=True),
    "optimizer.learning_rate": Key(float, "the highest learning rate", least=0),
    "optimizer.warmup_steps": _count("updates up to the highest learning rate", 0, least=0),
    # Absent: as the schedule has it.
    "optimizer.end_factor": Key(float, "of the learning rate, at the last step", ABSENT, least=0),
    "optimizer.clip_norm": Key(float, "the largest norm of a gradient; 0: any", 0.0, least=0),
    "optimizer.accumulate": _count("batches for one update", 1),
    "optimizer.ema": Key(float, "decay of the averaged parameters; 0: none", 0.0, 0, below=1),
    "optimizer.freeze": Key(Names, "regular expressions on paths of parameters", ()),
    "optimizer.layer_decay": Key(float, "of the learning rate, block by block", 1.0, most=1),
    "optimizer.unfreeze": Key(Any, "pairs of a pattern and a first step", ()),
    "train.steps": _count("the last step"),
    "train.log_every": _count("steps between records; 0: never", 100, least=0),
    "train.eval_every": _count("steps between evaluations; 0: at the end", 0, least=0),
    "train.checkpoint_every": _count("steps between checkpoints", 0, least=0),
    "train.keep": _count("last checkpoints, besides the best", 1),
    "train.monitor": Key(str, "the metric that says which checkpoint is best"),
    "train.mode": Key(str, "whether the best is the highest", names=("max", "min")),
    "train.patience": _count("evaluations without a better one; 0: any number", 0, least=0),
    "train.max_skipped": _count("steps in a row whose loss is not finite", 10),
    "train.adapter_only": Key(bool, "checkpoints without what published files hold", False),
    "mesh.data": Key(int, "devices that share a batch; -1: all that are left", -1, least=-1),
    "mesh.fsdp": _count("devices that share a batch and the parameters", 1),
    "mesh.tensor": _count("devices that share parameters", 1),
    "compilation_cache": Key(str, "of compiled programs; '': none", "~/.cache/mmjax/compiled"),
}
GROUPS = tuple(dict.fromkeys(key.partition(".")[0] for key in KEYS if "." in key))


def keys_of(group: str) -> dict[str, Key]:
    """The keys of a group such as "data", without its name; of "" the keys that are in none."""
    if not group:
        return {key: k for key, k in KEYS.items() if "." not in key}
    return {k.partition(".")[2]: v for k, v in KEYS.items() if k.startswith(f"{group}.")}
