"""Which caption belongs to which picture? Two encoders, one space: Tux Paint's stamps.

Command:  mmjax --config=align --workdir=runs/align
          after: apt-get download tuxpaint-stamps-default &&
                 dpkg-deb -x tuxpaint-stamps-default_*.deb ~/.cache/mmjax/data/tuxpaint
Hardware: two CPU cores, 11 seconds compiled and once the stamps are prepared, a minute at first.
Expect:   test recall@10 0.53 image to text and 0.41 text to image (experiments/losses/README.md);
          at random 0.19.

Variants:
  align:tiny    the upper and lower halves of handwritten digits, no download; 20 seconds
Losses that compare two modalities are applied to every pair. Replace or add any of docs/losses.md:
config.losses = {"info_nce": {"temperature": "temperature"}, "coral": {"weight": 0.1}}.
"""

from ml_collections import ConfigDict

VARIANTS = ("default", "tiny")


def get_config(variant: str = "default") -> ConfigDict:
    """The recipe; `variant` is one of VARIANTS."""
    config = ConfigDict()
    config.task = "alignment"
    config.modalities = ("image", "text")
    config.width = 128

    config.data = ConfigDict({"name": "tux_paint", "batch_size": 128})
    # stamps: where the package was unpacked, if not in DIR/tuxpaint or installed.
    config.data.options = ConfigDict({"language": "en", "stamps": ""})
    config.data.image_size = 32  # pixels; 64 find no more
    config.data.text_length = 16  # words

    config.encoders = ConfigDict({"image": {"name": "cnn"}, "text": {"name": "bag_of_words"}})
    config.encoders.image.patch_size = 4
    config.encoders.image.output = "mean"
    config.encoders.text.layers = 1
    config.alignment = ConfigDict({"embedding": 64})

    # "temperature" names the output of the model that learns it; a number fixes it.
    config.losses = ConfigDict({"info_nce": {"temperature": "temperature"}})
    config.metrics = ("retrieval", "alignment", "uniformity", "modality_gap")
    config.augment = ConfigDict({"image": {"flip_horizontal": {}, "shift": {"pixels": 2}}})

    config.optimizer = ConfigDict({"name": "adamw", "options": {"weight_decay": 0.1, "b2": 0.99}})
    config.optimizer.schedule = "warmup_cosine"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.warmup_steps = 10
    config.optimizer.clip_norm = 1.0

    # 16 epochs; more only learns the captions of training by heart.
    config.train = ConfigDict({"steps": 80, "log_every": 20, "eval_every": 20})
    config.train.monitor, config.train.mode = "val/recall_at_10", "max"

    return {"default": lambda c: c, "tiny": tiny}[variant](config)


def tiny(config: ConfigDict) -> ConfigDict:
    """Everything happens, in seconds."""
    config.modalities = ("lower", "upper")
    config.width = 64
    config.data.name = "digit_halves"
    config.data.options = ConfigDict()
    config.data.scale_features = False  # these data are of one scale already
    config.data.shapes = ConfigDict({"lower": (32,), "upper": (32,)})
    config.encoders = ConfigDict(
        {name: {"kind": "vector", "name": "mlp", "hidden": (128,)} for name in config.modalities}
    )
    config.augment = ConfigDict()
    config.train.steps = 200
    config.train.eval_every = 100
    return config
