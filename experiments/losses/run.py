"""Trains the same aligned model with each loss, three seeds each, through mmjax's own trainer.

python experiments/losses/run.py RUNS [--losses=NAME,…] [--seeds=0,1,2] [--stamps=DIR]

A run that is finished is not repeated: an interrupted study goes on where it stopped. DIR is where
the stamps are, if they are not where configs/align.py looks for them.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments.training import command_line, train, unfinished
from mmjax import cli, factory

CONFIG = Path(__file__).parents[2] / "configs" / "align.py"
LEARNED = {"temperature": "temperature"}
# What judges the spread of features reads them before they have length one.
FREE = {"a": "projection/image", "b": "projection/text"}

CONTRASTIVE: Mapping[str, Mapping[str, Any]] = {
    "info_nce": LEARNED,
    "sigmoid": LEARNED | {"bias": "bias"},
    "decoupled": LEARNED,
    "hard_negative": LEARNED,
    "triplet": {},
    "triplet_hard": {"name": "triplet", "mining": "hard"},
    "mine": LEARNED,
}
PAIRED: Mapping[str, Mapping[str, Any]] = {
    "cosine": {},
    "correlation": FREE,
    "cca": FREE,
    "soft_cca": FREE,
    "barlow_twins": FREE,
    "vicreg": FREE,
}
# These compare the two sets and never see which row belongs to which.
UNPAIRED: Mapping[str, Mapping[str, Any]] = {
    "coral": FREE,
    "central_moments": {},
    "mmd": {},
    "sinkhorn": {},
}
# Beside info_nce: a head that judges both fused, and a critic that the captions learn to fool.
HEADS: Mapping[str, Mapping[str, Any]] = {
    "matching": {"matching": {"name": "multiply"}},
    "critic": {"critic": {"hidden": (64,)}},
}
BESIDE: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "matching": {"image_text_matching": {}},
    "critic": {
        "gan_discriminator": {"real": "critic/image", "fake": "critic/text"},
        "gan_generator": {"fake": "generator_score/text", "weight": 0.1},
    },
}
LOSSES = CONTRASTIVE | PAIRED | UNPAIRED | BESIDE


def configure(loss: str, seed: int, stamps: str = "") -> ConfigDict:
    """The config of one run."""
    config = cli.load_config(f"{CONFIG}:default")
    config.seed = seed
    config.data.options.stamps = stamps
    if loss in BESIDE:
        config.losses = ConfigDict({"info_nce": LEARNED, **BESIDE[loss]})
        config.update(HEADS[loss])
    else:
        config.losses = ConfigDict({loss: dict(LOSSES[loss])})
    if loss == "sigmoid":
        config.alignment.temperature = 0.1  # as its paper begins
    return factory.checked(config)


def main() -> None:
    """Runs them all, one after the other."""
    parser = command_line(__doc__, losses=LOSSES)
    parser.add_argument("--stamps", default="")
    given = parser.parse_args()
    cli.prepare_devices()
    for loss, seed, directory in unfinished(given.runs, given.losses, given.seeds, "curves.png"):
        trained = train(configure(loss, seed, given.stamps), directory)
        found = trained.metrics["test/recall_at_10"]
        print(f"{loss} {seed}: recall@10 {found:.3f}, {trained.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
