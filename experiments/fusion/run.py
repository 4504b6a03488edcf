"""Trains every fusion on every task, three seeds each, through mmjax's own trainer.

python experiments/fusion/run.py RUNS [--fusions=NAME,…] [--tasks=NAME,…] [--seeds=0,1,2]

A run that is finished is not repeated: an interrupted study goes on where it stopped. Several may
run at a time, each with fusions or tasks of its own.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.training import command_line, train, unfinished
from mmjax import cli, factory
from mmjax.models.decision import COMBINATIONS

CONFIG = Path(__file__).parents[2] / "configs" / "fusion.py"


class Study(NamedTuple):
    """One task: the variant of the config, options of its data, and how long it trains."""

    variant: str
    options: Mapping[str, Any]
    steps: int


TASKS: Mapping[str, Study] = {
    "redundant": Study("default", {"task": "redundant"}, 200),
    "unique": Study("default", {"task": "unique"}, 200),
    "xor": Study("default", {"task": "xor", "classes": 2}, 400),
    "sum": Study("default", {"task": "sum", "classes": 3}, 1000),
    "lookup": Study("lookup", {}, 600),
    "digits": Study("digits", {}, 1000),
}
# Where the default is for deep encoders: here each modality is one token and nothing precedes.
OPTIONS: Mapping[str, Mapping[str, Any]] = {"bottleneck": {"fusion_start": 0}}
# What only adds (with weights, perhaps) leaves combining to the head: the same with a hidden layer.
MLP = "+mlp"
ADDING = ("adaptive", "attention_pool", "co_attention", "convex", "sum")
FUSIONS = (
    *factory.FUSIONS,
    *(f"{fusion}{MLP}" for fusion in ADDING),
    *(f"decision_{rule}" for rule in COMBINATIONS),
)


def configure(task: str, fusion: str, seed: int) -> Any:
    """The config of one run."""
    study = TASKS[task]
    fusion, _, hidden = fusion.partition(MLP[0])
    config = cli.load_config(f"{CONFIG}:{study.variant}")
    config.seed, config.train.steps = seed, study.steps
    config.train.eval_every = study.steps // 2
    config.data.options.update(study.options)
    config.head.hidden = (64,) if hidden else ()
    kind, _, rule = fusion.partition("decision_")
    config.fusion.name, config.decision = kind or "concat", rule
    with config.unlocked():
        config.fusion.update(OPTIONS.get(fusion, {}))
    return factory.checked(config)


def main() -> None:
    """Runs them all, one after the other."""
    given = command_line(__doc__, fusions=FUSIONS, tasks=TASKS).parse_args()
    cli.prepare_devices()
    labels = [f"{task}/{fusion}" for fusion in given.fusions for task in given.tasks]
    for label, seed, directory in unfinished(given.runs, labels, given.seeds, "confusion.png"):
        task, fusion = label.split("/")
        trained = train(configure(task, fusion, seed), directory)
        accuracy = trained.metrics["test/accuracy/complete"]
        print(f"{task} {fusion} {seed}: {accuracy:.4f}, {trained.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
