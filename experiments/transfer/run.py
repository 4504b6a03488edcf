"""Aligns pictures, captions and speech from scratch and from published encoders, three seeds each.

python experiments/transfer/run.py RUNS --weights=DIR [--ways=NAME,…] [--seeds=0,1,2] [--stamps=DIR]

The README beside this file says what DIR holds; networks with random weights are put there. A run
that is finished is not repeated: an interrupted study goes on where it stopped.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.training import command_line, train, unfinished
from mmjax import cli, factory, interop, pretrained

CONFIG = Path(__file__).parents[2] / "configs" / "align.py"
RATE, SECONDS = 16_000, 2.0
FILES = {"image": "mobilenet_v2.pth", "text": "minilm", "speech": "whisper"}
RESULT = "result.json"


def scratch(config: ConfigDict) -> None:
    """Small encoders as in configs/align.py, and one that hears; they know nothing before."""
    config.encoders.speech = ConfigDict({"kind": "audio", "name": "resnet", "channels": 16})


def published(config: ConfigDict, weights: Path, *, freeze: bool) -> None:
    """MobileNetV2 (ImageNet), MiniLM (sentences) and the encoder of Whisper (English speech)."""
    del config.encoders.image, config.encoders.text
    for name, file in FILES.items():
        kind = {"kind": "audio"} if name == "speech" else {}
        config.encoders[name] = pretrained(str(weights / file), freeze=freeze, **kind)
    config.data.image_size = 96


def frozen(config: ConfigDict, weights: Path) -> None:
    """Linear projections learn; all else stays."""
    published(config, weights, freeze=True)


def lora(config: ConfigDict, weights: Path) -> None:
    """Projections learn, and rank 8 beside every dense layer and convolution of the encoders."""
    published(config, weights, freeze=False)
    config.tuning = ConfigDict({"name": "lora", "rank": 8, "alpha": 16.0})
    config.optimizer.learning_rate = 1e-3


def full(config: ConfigDict, weights: Path) -> None:
    """Everything learns, at a rate that does not destroy what is known."""
    published(config, weights, freeze=False)
    config.optimizer.learning_rate = 1e-4


def spectrogram(config: ConfigDict, path: Path, text: Path) -> None:
    """Captions by MiniLM, which stays; speech as spectrograms by a MobileNetV2, which learns."""
    config.modalities = ("text", "speech")
    config.encoders = ConfigDict(
        {
            "text": pretrained(str(text), freeze=True),
            "speech": pretrained(str(path), kind="audio"),
        }
    )
    config.augment = ConfigDict()
    config.optimizer.learning_rate = 1e-3
    config.train.monitor = "val/recall_at_10"


def photographs(config: ConfigDict, weights: Path) -> None:
    """It has seen photographs."""
    spectrogram(config, weights / FILES["image"], weights / FILES["text"])


def nothing(config: ConfigDict, weights: Path) -> None:
    """It has seen nothing: the same network with random weights."""
    path = weights / f"untrained-{config.seed}"
    if not path.exists():
        model = interop.load(weights / FILES["image"])
        shapes = {name: jnp.zeros(x.shape) for name, x in model.architecture.example.items()}
        variables = jax.jit(model.module.init)(jax.random.PRNGKey(config.seed), **shapes)
        interop.save(model, path, variables=variables)
    spectrogram(config, path, weights / FILES["text"])


WAYS: dict[str, Callable] = {
    "scratch": lambda config, _: scratch(config),
    "frozen": frozen,
    "lora": lora,
    "full": full,
    "spectrogram_nothing": nothing,
    "spectrogram_photographs": photographs,
}


def configure(way: str, seed: int, weights: Path, stamps: str = "") -> ConfigDict:
    """The config of one run: `configs/align.py`, with speech."""
    config = cli.load_config(f"{CONFIG}:default")
    config.seed = seed
    config.modalities = ("image", "text", "speech")
    config.data.options = ConfigDict(
        {
            "language": "en",
            "speech": ("fr",),
            "sample_rate": RATE,
            "seconds": SECONDS,
            "stamps": stamps,
        }
    )
    config.data.shapes = ConfigDict({"speech": (int(RATE * SECONDS),)})
    config.data.batch_size = 64
    config.train.steps = 160
    config.train.eval_every = 40
    config.train.monitor = "val/recall_at_10/image-text"
    WAYS[way](config, weights)
    return factory.checked(config)


def counts(experiment: Any) -> dict[str, int]:
    """How many parameters the model has, and how many of them are trained."""
    shapes = jax.eval_shape(experiment.model.init, jax.random.PRNGKey(0), dict(experiment.example))
    params = shapes["params"]
    trains = experiment.trains(params)
    sizes = jax.tree.map(lambda x: x.size, params)
    chosen = (
        sizes if trains is None else jax.tree.map(lambda size, t: size if t else 0, sizes, trains)
    )
    return {
        "parameters": sum(jax.tree.leaves(sizes)),
        "trained": sum(jax.tree.leaves(chosen)),
    }


def main() -> None:
    """Runs them all, one after the other."""
    parser = command_line(__doc__, ways=WAYS)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--stamps", default="")
    given = parser.parse_args()
    cli.prepare_devices()
    for way, seed, directory in unfinished(given.runs, given.ways, given.seeds, RESULT):
        config = configure(way, seed, given.weights, given.stamps)
        path, experiment, seconds, metrics = train(config, directory)
        result = counts(experiment) | {"seconds": seconds} | metrics
        (path / RESULT).write_text(json.dumps(result, indent=1))
        found = metrics[config.train.monitor.replace("val", "test")]
        print(f"{way} {seed}: recall@10 {found:.3f}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
