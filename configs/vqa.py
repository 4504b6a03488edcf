"""PLACEHOLDER HEADER
"""

import math

from ml_collections import ConfigDict

VARIANTS = ("default", "tiny", "reference")


def get_config(variant: str = "default") -> ConfigDict:
    """The recipe; `variant` is one of VARIANTS."""
    config = ConfigDict()
    config.seed = 0
    config.task = "classification"
    config.modalities = ("image", "text")  # ("text",) or ("image",) for the unimodal baselines
    config.dtype = "float32"  # of the computation; "bfloat16" on accelerators
    config.width = 128

    config.data = ConfigDict()
    config.data.name = "easy_vqa"
    config.data.options = ConfigDict()
    config.data.dir = "~/.cache/mmjax/data"
    config.data.image_size = 64  # pixels
    config.data.text_length = 12  # words
    config.data.images_per_batch = 32
    config.data.questions_per_image = 12  # 0: every question is an example with its own image
    config.data.cache = True  # keep decoded images in memory
    config.data.workers = 0  # processes
    config.data.threads = 2
    config.data.prefetch = 4  # batches

    config.encoders = ConfigDict()
    config.encoders.image = ConfigDict(
        {
            "name": "cnn",
            "patch_size": 4,
            "channels": (64, 64, 128, 128),
            "strides": (1, 1, 2, 1),
            "norm": "none",
            "activation": "relu",
            "output": "mean",
        }
    )
    config.encoders.text = ConfigDict({"name": "bag_of_words", "layers": 2, "activation": "relu"})
    config.fusion = ConfigDict({"name": "multiply", "activation": "relu"})
    config.head = ConfigDict({"hidden": (128,), "activation": "relu", "dropout": 0.0})

    config.losses = ConfigDict({"cross_entropy": {"weight": 1.0, "label_smoothing": 0.0}})
    config.metrics = ("accuracy",)
    # Questions never ask about position, so mirroring and moving are safe; changing hue is not.
    config.augment = ConfigDict({"image": {"flip_horizontal": {}, "shift": {"pixels": 4}}})

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.options = ConfigDict({"weight_decay": 0.05})
    config.optimizer.schedule = "warmup_cosine"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 50
    config.optimizer.end_factor = 0.0
    config.optimizer.clip_norm = 1.0
    config.optimizer.accumulate = 1
    config.optimizer.ema = 0.99
    config.optimizer.freeze = ()

    config.train = ConfigDict()
    config.train.steps = 1344
    config.train.log_every = 50
    config.train.eval_every = 336
    config.train.checkpoint_every = 0
    config.train.keep = 1
    config.train.monitor = "val/accuracy"
    config.train.mode = "max"
    config.train.patience = 0
    config.train.max_skipped = 10

    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})
    config.compilation_cache = "~/.cache/mmjax/compiled"
    if variant == "tiny":
        config.width = 32
        config.data.name = "shapes"
        config.data.options = ConfigDict({"train": 512, "validation": 64, "test": 64})
        config.data.image_size = 32
        config.data.images_per_batch = 32
        config.train.steps = 200
        config.train.eval_every = 100
    return config
