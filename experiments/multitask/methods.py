"""What this study compares, by suite: a config for each method and seed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmjax import cli

CONFIGS = Path(__file__).parents[2] / "configs"
EQUAL = "equal"
GRID = ("4,1,1", "1,4,1", "1,1,4", "1,4,4", "4,1,4", "4,4,1")
LOSSES = (
    *("dwa", "famo", "famo, next batch", "gls", "imtl_l", "rlw", "scheduled", "stch"),
    "uncertainty",
)
GRADIENTS = (
    *("pcgrad", "cagrad", "mgda", "nash_mtl", "imtl_g", "gradnorm", "db_mtl", "aligned_mtl"),
    *("graddrop", "gradvac", "fairgrad", "upgrad", "dual_projection", "rgw", "mean", "sum"),
)
MODALITIES = ("mmpareto", "agm", "ogm_ge")  # what each modality is good for alone
LONGER = ", 3 x the steps"
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "famo": {"same_batch": True},  # which needs a second forward pass
    # From one of the grid to equal weights.
    "scheduled": {"start": (1.0, 1.0, 4.0), "end": (1.0, 1.0, 1.0), "shape": "linear"},
}


def trimodal(variant: str = "default") -> ConfigDict:
    """The recipe with ResNet-10, pictures of 8 x 8 pixels, 24 mel bins and a layer of text."""
    config = cli.load_config(f"{CONFIGS}/trimodal.py:{variant}")
    config.data.image_size = 8
    for name in ("image", "audio"):
        config.encoders[name].depth = 10
    config.encoders.audio.mel_bins = 24
    config.encoders.text.layers = 1
    config.train.steps = config.train.eval_every = 300
    return config


def vqa(variant: str = "types") -> ConfigDict:
    """The recipe with pictures of 32 x 32 pixels and the encoder of `:tiny`."""
    config = cli.load_config(f"{CONFIGS}/vqa.py:{variant}")
    config.data.image_size = 32
    config.encoders.image.patch_size = 2
    config.encoders.image.channels = (32, 32, 64)
    config.encoders.image.strides = (1, 2, 2)
    config.train.steps = config.train.eval_every = 400
    config.train.log_every = 0
    return config


def with_fold(config: ConfigDict, fold: int) -> ConfigDict:
    """Each seed holds out other people and languages."""
    options = config.data.options
    with config.unlocked():
        for part in options.parts.values() if "parts" in options else (options,):
            part["fold"] = fold
    return config


def alone(config: ConfigDict, task: str) -> ConfigDict:
    """One task, and no other."""
    config.tasks = ConfigDict({task: config.tasks[task]})
    return config


def alone_trimodal(task: str) -> ConfigDict:
    """One task with its modality, whose examples come once an epoch."""
    config = alone(trimodal(), task)
    modality = trimodal("separate").tasks[task].modalities[0]
    config.modalities = (modality,)
    config.data.options = ConfigDict({"modalities": (modality,)})
    if modality != "audio":
        config.data.shapes = ConfigDict()
    config.train.monitor = "val/accuracy"
    return config


def alone_vqa(task: str) -> ConfigDict:
    """One kind of question; batches are of all kinds, as for several tasks."""
    config = alone(vqa(), task)
    config.train.monitor = "val/accuracy"
    return config


def longer(config: ConfigDict, times: int) -> ConfigDict:
    """With more steps."""
    config.train.steps *= times
    config.train.eval_every = config.train.steps
    return config


SUITES: Mapping[str, tuple[str, ...]] = {
    "trimodal": ("written", "spoken", "read"),
    "vqa": ("yes_no", "color", "shape"),
}
# What is no weighting of the recipe itself.
OTHERS: Mapping[str, Mapping[str, Callable[[], ConfigDict]]] = {
    "trimodal": {
        "linear": trimodal,
        **{f"only {t}": lambda t=t: alone_trimodal(t) for t in SUITES["trimodal"]},
        "separate": lambda: trimodal("separate"),
        "mixed": lambda: trimodal("mixed"),
        "alternating": lambda: trimodal("alternating"),
        f"mixed{LONGER}": lambda: longer(trimodal("mixed"), 3),
        f"alternating{LONGER}": lambda: longer(trimodal("alternating"), 3),
    },
    "vqa": {
        "linear": vqa,
        **{f"only {t}": lambda t=t: alone_vqa(t) for t in SUITES["vqa"]},
    },
}
METHODS: Mapping[str, tuple[str, ...]] = {
    suite: (
        *(EQUAL, *(f"fixed {weights}" for weights in GRID)),
        *(name for name in others if LONGER not in name),
        *(*LOSSES, *GRADIENTS, *MODALITIES),
        *(name for name in others if LONGER in name),
    )
    for suite, others in OTHERS.items()
}


def configure(suite: str, method: str, seed: int) -> ConfigDict:
    """The config of one run."""
    recipe: Callable[[], ConfigDict] = {"trimodal": trimodal, "vqa": vqa}[suite]
    config = OTHERS[suite].get(method, recipe)()
    config.seed = seed
    if suite == "trimodal":
        with_fold(config, seed)
    kind, _, weights = method.partition(" ")
    if kind == "fixed":
        given = list(map(float, weights.split(",")))
        for task, weight in zip(SUITES[suite], given, strict=True):
            with config.unlocked():
                config.tasks[task].weight = len(given) * weight / sum(given)
    elif method not in OTHERS[suite] and method != EQUAL:
        name = method.partition(",")[0]
        config.weighting = ConfigDict({"name": name, **OPTIONS.get(method, {})})
        if method == "scheduled":
            config.weighting.steps = config.train.steps
    return config
