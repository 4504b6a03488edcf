"""Which caption belongs to which picture? Two encoders, one space: Tux Paint's stamps.

Command:  python -m mmjax.main --config=configs/align.py --workdir=runs/align
          after: apt-get download tuxpaint-stamps-default &&
                 dpkg-deb -x tuxpaint-stamps-default_*.deb ~/.cache/mmjax/data/tuxpaint
Hardware: two CPU cores, 11 seconds compiled and once the stamps are prepared, a minute at first.
Expect:   test recall@10 0.53 image to text and 0.41 text to image (experiments/losses/README.md);
          at random 0.19.

Variants:
  configs/align.py:tiny    the upper and lower halves of handwritten digits, no download; 20 seconds
Losses that compare two modalities are applied to every pair. Replace or add any of the README's:
config.losses = {"info_nce": {"temperature": "temperature"}, "coral": {"weight": 0.1}}.
"""

from ml_collections import ConfigDict

VARIANTS = ("default", "tiny")


def get_config(variant: str = "default") -> ConfigDict:
    """The recipe; `variant` is one of VARIANTS."""
    config = ConfigDict()
    config.seed = 0
    config.task = "alignment"
    config.modalities = ("image", "text")
    config.dtype = "float32"
    config.width = 128

    config.data = ConfigDict()
    config.data.name = "tux_paint"
    # stamps: where the package was unpacked, if not in DIR/tuxpaint or installed.
    config.data.options = ConfigDict({"language": "en", "stamps": ""})
    config.data.dir = "~/.cache/mmjax/data"
    config.data.image_size = 32  # pixels; 64 find no more
    config.data.text_length = 16  # words
    config.data.batch_size = 128
    config.data.scale_features = False  # these data are of one scale already
    config.data.workers = 0  # processes
    config.data.threads = 1
    config.data.prefetch = 4  # batches

    config.encoders = ConfigDict()
    config.encoders.image = ConfigDict(
        {"name": "cnn", "patch_size": 4, "channels": (32, 64, 128), "output": "mean"}
    )
    config.encoders.text = ConfigDict({"name": "bag_of_words", "layers": 1})
    config.alignment = ConfigDict(
        {"embedding": 64, "hidden": (), "temperature": 0.07, "bias": -10.0}
    )

    # "temperature" names the output of the model that learns it; a number fixes it.
    config.losses = ConfigDict({"info_nce": {"weight": 1.0, "temperature": "temperature"}})
    config.metrics = ("retrieval", "alignment", "uniformity", "modality_gap")
    config.augment = ConfigDict({"image": {"flip_horizontal": {}, "shift": {"pixels": 2}}})

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.options = ConfigDict({"weight_decay": 0.1, "b2": 0.99})
    config.optimizer.schedule = "warmup_cosine"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.warmup_steps = 10
    config.optimizer.end_factor = 0.0
    config.optimizer.clip_norm = 1.0
    config.optimizer.accumulate = 1
    config.optimizer.ema = 0.0
    config.optimizer.freeze = ()
    config.optimizer.layer_decay = 1.0
    config.optimizer.unfreeze = ()
    config.tuning = ConfigDict({"name": "full"})

    config.train = ConfigDict()
    config.train.steps = 80  # 16 epochs; more only learns the captions of training by heart
    config.train.log_every = 20
    config.train.eval_every = 20
    config.train.checkpoint_every = 0
    config.train.keep = 1
    config.train.monitor = "val/recall_at_10"
    config.train.mode = "max"
    config.train.patience = 0
    config.train.max_skipped = 10

    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})
    config.compilation_cache = "~/.cache/mmjax/compiled"

    return {"default": lambda c: c, "tiny": tiny}[variant](config)


def tiny(config: ConfigDict) -> ConfigDict:
    """Everything happens, in seconds."""
    config.modalities = ("lower", "upper")
    config.width = 64
    config.data.name = "digit_halves"
    config.data.options = ConfigDict()
    config.data.shapes = ConfigDict({"lower": (32,), "upper": (32,)})
    config.encoders = ConfigDict(
        {name: {"kind": "vector", "name": "mlp", "hidden": (128,)} for name in config.modalities}
    )
    config.augment = ConfigDict()
    config.train.steps = 200
    config.train.eval_every = 100
    return config
