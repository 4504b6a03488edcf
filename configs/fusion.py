"""Can a fusion combine what its modalities say? Controlled tasks with a known best accuracy.

Command:  mmjax --config=fusion --workdir=runs/fusion
Hardware: two CPU cores, half a minute.
Expect:   test accuracy "complete" within noise of the best possible, 0.886
          (mmjax.data.datasets.controlled.bayes_accuracy); chance is 0.20.

Variants:
  fusion:tiny    few steps; 15 seconds; exclusive or of two bits
  fusion:lookup  a names the step of the sequence b that holds the answer
  fusion:tags    any number of labels: which symbols are meant? Thresholds are tuned; 15
                 seconds; test exact_match 0.88 "complete", as good as can be
  fusion:tasks   two tasks at once: the label, and the sum of the symbols as a number;
                 15 seconds; test accuracy 0.86 and r2 0.90 "complete"
  fusion:digits  a handwritten digit, a spoken digit and a word: the larger, the smaller
                 or their difference; needs pip install espeakng-loader==0.2.4
Change the task with --config.data.options.task=redundant|unique|xor|sum, the fusion with
--config.fusion.name=NAME, or fuse decisions with --config.decision=average.
"""

from ml_collections import ConfigDict

VARIANTS = ("default", "digits", "lookup", "tags", "tasks", "tiny")


def get_config(variant: str = "default") -> ConfigDict:
    """The recipe; `variant` is one of VARIANTS."""
    config = ConfigDict()
    config.task = "classification"
    config.modalities = ("a", "b", "c")
    config.width = 32

    config.data = ConfigDict({"name": "controlled", "batch_size": 64})
    config.data.options = ConfigDict({"task": "sum", "classes": 5, "flip": 0.05, "missing": 0.1})
    config.data.shapes = ConfigDict(dict.fromkeys(config.modalities, (16,)))
    config.data.scale_features = False  # these data are of one scale already

    encoders = {name: {"kind": "vector", "name": "mlp"} for name in config.modalities}
    config.encoders = ConfigDict(encoders)
    config.fusion = ConfigDict({"name": "multiply"})
    config.head = ConfigDict({"hidden": ()})  # linear: the fusion must do the work

    config.losses = ConfigDict({"cross_entropy": {}})
    config.metrics = ("accuracy",)

    config.optimizer = ConfigDict({"name": "adamw", "options": {"weight_decay": 0.01, "b2": 0.99}})
    config.optimizer.schedule = "warmup_cosine"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.warmup_steps = 50
    config.optimizer.clip_norm = 1.0

    config.train = ConfigDict({"steps": 1000, "eval_every": 500})
    config.train.monitor, config.train.mode = "val/accuracy", "max"

    variants = {"digits": digits, "lookup": lookup, "tags": tags, "tasks": tasks, "tiny": tiny}
    return {"default": lambda c: c, **variants}[variant](config)


def digits(config: ConfigDict) -> ConfigDict:
    """Real pictures, synthesised speech and text: the answer needs all three."""
    config.modalities = ("image", "audio", "text")
    config.width = 64
    config.data.name = "digit_arithmetic"
    config.data.dir = "~/.cache/mmjax/data"
    config.data.options = ConfigDict({"missing": 0.1})
    shapes = {"image": (16, 16, 3), "audio": (4800,), "text": (1,)}  # pixels, samples, words
    config.data.shapes = ConfigDict(shapes)
    config.data.batch_size = 64
    config.encoders = ConfigDict()
    config.encoders.image = ConfigDict(
        {"name": "cnn", "patch_size": 2, "channels": (32, 64), "output": "flatten"}
    )
    config.encoders.audio = ConfigDict(
        {
            "name": "autoencoder",  # its encoder: a token for each 0.08 s
            "channels": (64, 64, 64),
            "sample_rate": 8000,  # Hz
            "convention": "plain",
            "mel_bins": 40,
            "dropout": 0.2,
        }
    )
    config.encoders.text = ConfigDict({"name": "bag_of_words", "vocabulary_size": 4})
    config.optimizer.learning_rate = 2e-3
    return config


def lookup(config: ConfigDict) -> ConfigDict:
    """One modality points into another."""
    config.data.options.task = "lookup"
    config.data.shapes.b = (config.data.options.classes, 32)
    config.encoders.b = ConfigDict({"kind": "series", "name": "mlp"})
    return config


def tags(config: ConfigDict) -> ConfigDict:
    """Any number of labels is right."""
    config.task = "multilabel"
    config.data.options.task = "tags"
    config.fusion.name = "concat"
    config.losses = ConfigDict({"binary_cross_entropy": {}})
    config.metrics = (
        "exact_match",
        "multilabel_average_precision",
        "multilabel_precision_recall_f1",
        "multilabel_roc_auc",
    )
    config.train.steps = 300
    config.train.log_every = 50
    config.train.eval_every = 150
    config.train.monitor = "val/multilabel_average_precision"
    return config


def tasks(config: ConfigDict) -> ConfigDict:
    """A class and a number are asked for by two heads on one fused vector."""
    label = {"losses": ("cross_entropy",), "metrics": ("accuracy",), "head": config.head}
    total = {"losses": ("l2",), "metrics": ("regression",), "head": {"hidden": (64,)}}
    config.tasks = ConfigDict(
        {
            "label": {"name": "classification", **label},
            "total": {"name": "regression", "target": "total", "weight": 1.0, **total},
        }
    )
    for key in ("task", "losses", "metrics", "head"):
        del config[key]
    config.fusion.name = "concat"
    config.train.monitor = "val/total/rmse"
    config.train.mode = "min"
    return config


def tiny(config: ConfigDict) -> ConfigDict:
    """Everything happens, in seconds."""
    config.data.options.task = "xor"
    config.data.options.classes = 2
    config.train.steps = 300
    config.train.log_every = 50
    config.train.eval_every = 150
    return config
