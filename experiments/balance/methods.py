"""The recipe of the study, and what each method changes in it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

MODALITIES = ("audio", "image")
NOISES: Mapping[str, float | None] = {"clean": None, "10 dB": 10.0, "0 dB": 0.0}
TUNED_AT = "10 dB"  # where learning rates are chosen
SEEDS = (0, 1, 2)
STEPS, EVALUATIONS = 200, 5
RATES = (1e-3, 3e-3, 1e-2)
WIDTH = 64
BLUR = 0.3  # noise of the pictures, so that neither modality is perfect alone


def fold(seed: int) -> int:
    """Which voices a seed holds out: each of the six is in the test of one of the first six."""
    return (2 * seed + seed // 3) % 6


def recipe(noise: str, seed: int, rate: float, steps: int = STEPS) -> ConfigDict:
    """Plain joint training; seeds hold out different voices."""
    config = ConfigDict()
    config.task, config.seed = "classification", seed
    config.modalities, config.width = MODALITIES, WIDTH
    config.data = ConfigDict({"name": "digit_pairs", "batch_size": 64})
    config.data.options = ConfigDict({"fold": fold(seed), "snr": NOISES[noise], "blur": BLUR})
    config.data.options.update({"train": 2000, "validation": 500, "test": 1000})
    config.data.shapes = ConfigDict({"audio": (4800,), "image": (8, 8, 3)})
    config.encoders = ConfigDict()
    config.encoders.image = ConfigDict({"name": "cnn", "channels": (16, 32), "output": "flatten"})
    config.encoders.audio = ConfigDict(
        {
            "name": "autoencoder",  # its encoder: three convolutions over a log-mel spectrogram
            "channels": (32, 32, 32),
            "convention": "whisper",
            "mel_bins": 40,
            "dropout": 0.2,
            "spec_augment": {"time_width": 10, "frequency_width": 8},  # frames, mel bins
        }
    )
    config.fusion, config.head = ConfigDict({"name": "concat"}), ConfigDict({"hidden": ()})
    config.losses, config.metrics = ConfigDict({"cross_entropy": {}}), ("accuracy",)
    config.optimizer = ConfigDict({"name": "adamw", "options": {"weight_decay": 0.01}})
    config.optimizer.schedule, config.optimizer.learning_rate = "warmup_cosine", rate
    config.optimizer.warmup_steps, config.optimizer.clip_norm = 30, 1.0
    config.train = ConfigDict({"steps": steps, "eval_every": steps // EVALUATIONS})
    config.train.monitor, config.train.mode, config.train.log_every = "val/accuracy", "max", 0
    return config


class Known(NamedTuple):
    """What earlier runs of the same noise and seed say.

    teachers: by modality, the workdir of it alone.
    blending: by span, as a share of training, the weights of all together and of each alone.
    """

    teachers: Mapping[str, str]
    blending: Mapping[float, tuple[float, ...]]


def weights(*of: float) -> dict[str, Any]:
    """Constant weights of the loss of all modalities together, and of each alone."""
    return {"name": "scheduled", "alone": True, "start": of, "end": of}


def auxiliary(config: ConfigDict, strength: float, known: Known) -> None:
    """The loss of each modality alone counts, too; `strength` is its weight."""
    del known
    config.weighting = ConfigDict(weights(1.0, *(strength,) * len(MODALITIES)))


def modality_dropout(config: ConfigDict, strength: float, known: Known) -> None:
    """`strength` is the share of modalities that the fusion does not see."""
    del known
    config.modality_dropout = strength


def ogm_ge(config: ConfigDict, strength: float, known: Known) -> None:
    """`strength` is alpha."""
    del known
    config.weighting = ConfigDict({"name": "ogm_ge", "alpha": strength})


def agm(config: ConfigDict, strength: float, known: Known) -> None:
    """`strength` is alpha."""
    del known
    config.weighting = ConfigDict({"name": "agm", "alpha": strength})


def mmpareto(config: ConfigDict, strength: float, known: Known) -> None:
    """`strength` is gamma."""
    del known
    config.weighting = ConfigDict({"name": "mmpareto", "gamma": strength})


def pmr(config: ConfigDict, strength: float, known: Known) -> None:
    """`strength` is alpha; the entropy counts in the first third."""
    del known
    early = config.train.steps // 3
    config.weighting = ConfigDict({"name": "pmr", "alpha": strength, "early": early})


def blending(config: ConfigDict, strength: float, known: Known) -> None:
    """Weights are measured offline, over the first `strength` of the training of each model."""
    found = known.blending[strength]
    config.weighting = ConfigDict(weights(*(x * len(found) for x in found)))


def umt(config: ConfigDict, strength: float, known: Known) -> None:
    """`strength` is the weight of half the squared distance from the teacher's features."""
    config.teachers = ConfigDict(known.teachers)
    for name in MODALITIES:
        config.losses[f"{name}_teacher"] = ConfigDict(
            {
                "name": "feature_distillation",
                "features": f"encoder/{name}",
                "teacher": f"teacher/{name}",
                "weight": strength,
            }
        )


# By method, what it does to the recipe and the strengths that are tried besides none.
METHODS: Mapping[str, tuple[Callable[[ConfigDict, float, Known], None], tuple[float, ...]]] = {
    "auxiliary": (auxiliary, (0.3, 1.0)),
    "modality_dropout": (modality_dropout, (0.2, 0.4)),
    "gradient_blending": (blending, (0.25, 1.0)),
    "ogm_ge": (ogm_ge, (0.1, 0.5)),
    "agm": (agm, (0.3, 1.0)),
    "mmpareto": (mmpareto, (1.0, 1.5)),
    "pmr": (pmr, (0.3, 1.0)),
    "umt": (umt, (0.1, 1.0)),
}
