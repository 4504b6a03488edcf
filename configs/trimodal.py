"""Can one model see, hear and read digits? Three tasks that have nothing to do with each other.

Command:  mmjax --config=trimodal --workdir=runs/trimodal
Hardware: two CPU cores, 90 seconds from the command to the result.
Expect:   test accuracy 0.94 written, 0.48 spoken, 0.76 read, means of three seeds; chance is 0.1.
          Of the voices that are left out two are told at 0.57, and one at 0.30.

All are asked about people and languages that training never had: other writers, another voice,
words of other languages. What a task has to do with the others is the fusion and one optimizer.

Needs real recordings, 27 MB (see mmjax.data.datasets.spoken_numbers):
git clone https://github.com/Jakobovski/free-spoken-digit-dataset \\
    ~/.cache/mmjax/data/free-spoken-digit-dataset

Variants:
  trimodal:separate     each task has a trunk of its own, so that nothing is shared
  trimodal:mixed        three data sets in place of one; a batch has examples of all
  trimodal:alternating  the same; each batch is of one data set
  trimodal:tiny         pictures and words; no download; 20 seconds
How they compare is in experiments/multitask/README.md. Weigh the tasks with --config.weighting=NAME
or --config.tasks.spoken.weight=4.0, and choose who is in the test with --config.data.options.fold.
"""

from ml_collections import ConfigDict

VARIANTS = ("default", "separate", "alternating", "mixed", "tiny")
MODALITIES = {"written": "image", "spoken": "audio", "read": "text"}  # of each task


def get_config(variant: str = "default") -> ConfigDict:
    """The recipe; `variant` is one of VARIANTS."""
    config = ConfigDict()
    config.modalities = tuple(MODALITIES.values())
    config.width = 64

    config.data = ConfigDict({"name": "digit_triples", "batch_size": 32, "image_size": 16})
    config.data.options = ConfigDict({"train": 16384})
    config.data.shapes = ConfigDict({"audio": (6400,)})  # 0.8 s at 8 kHz
    config.data.text_length = 14  # letters

    config.encoders = ConfigDict()
    config.encoders.image = ConfigDict({"name": "resnet", "stem": "small"})
    config.encoders.audio = ConfigDict({"name": "resnet", "mel_bins": 40, "sample_rate": 8000})
    for name in ("image", "audio"):
        config.encoders[name].depth = 18
        config.encoders[name].channels = 16  # 64 in the paper
        config.encoders[name].norm = "group"  # rows of a batch do not see each other
    config.encoders.text = ConfigDict({"name": "transformer", "dropout": 0.1})
    config.fusion = ConfigDict({"name": "concat"})

    task = {"name": "classification", "losses": ("cross_entropy",), "metrics": ("accuracy",)}
    config.tasks = ConfigDict({name: {**task, "target": name} for name in MODALITIES})

    config.optimizer = ConfigDict({"name": "adamw", "options": {"weight_decay": 0.05, "b2": 0.99}})
    config.optimizer.schedule = "warmup_cosine"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.warmup_steps = 30
    config.optimizer.clip_norm = 1.0

    config.train = ConfigDict({"steps": 300, "eval_every": 300})
    config.train.monitor, config.train.mode = "val/read/accuracy", "max"

    variants = {"separate": separate, "alternating": alternating, "mixed": mixed, "tiny": tiny}
    return {"default": lambda c: c, **variants}[variant](config)


def separate(config: ConfigDict) -> ConfigDict:
    """Each task has a trunk of its own: nothing is shared."""
    for name, modality in MODALITIES.items():
        config.tasks[name].modalities = (modality,)
    return config


def mixed(config: ConfigDict, strategy: str = "mixed") -> ConfigDict:
    """Three data sets in place of one: an example has a picture, a recording or a word."""
    config.data.name = "mixture"
    parts = {
        name: {"name": "digit_triples", "modalities": (modality,)}
        for name, modality in MODALITIES.items()
    }
    # So hot that each is drawn as often, though there are three recordings to a word.
    options = {"parts": parts, "strategy": strategy, "temperature": 1000.0}
    config.data.options = ConfigDict(options)
    return config


def alternating(config: ConfigDict) -> ConfigDict:
    """As mixed, and all examples of a batch are of one data set."""
    return mixed(config, "alternating")


def tiny(config: ConfigDict) -> ConfigDict:
    """Pictures and words, no download: everything happens, in seconds."""
    config.modalities = ("image", "text")
    config.data.options.modalities = config.modalities
    config.data.image_size = 8
    del config.tasks["spoken"], config.data.shapes["audio"]
    config.encoders.image.depth = 10
    config.encoders.text.layers = 1
    config.train.steps = config.train.eval_every = 200
    return config
