"""Which words are said? Numbers of two to five spoken digits, written letter by letter (CTC).

Command:  mmjax --config=speech --workdir=runs/speech
Hardware: two CPU cores, 10 minutes.
Expect:   test word error rate 0.10 for voices that it knows and 0.86 for one that it never heard
          (experiments/transcription/README.md); 1.0 for writing nothing.

Needs real recordings, 27 MB (see mmjax.data.datasets.spoken_numbers):
git clone https://github.com/Jakobovski/free-spoken-digit-dataset \
    ~/.cache/mmjax/data/free-spoken-digit-dataset

Variants:
  speech:tiny    handwritten numbers; no download; 20 seconds
"""

from ml_collections import ConfigDict

VARIANTS = ("default", "tiny")


def get_config(variant: str = "default") -> ConfigDict:
    """The recipe; `variant` is one of VARIANTS."""
    config = ConfigDict()
    config.task = "transcription"
    config.modalities = ("speech",)
    config.width = 96

    config.data = ConfigDict({"name": "spoken_numbers", "batch_size": 32})
    config.data.options = ConfigDict({"seconds": 3.5, "new_voices": ("george",), "louder": 10.0})
    config.target = "text"  # which texts of the data set are to be written
    config.data.shapes = ConfigDict({"speech": (28000,)})  # samples at 8 kHz

    # 50 tokens a second; CTC takes one for each letter at least.
    config.encoders = ConfigDict({"speech": {"kind": "audio", "name": "whisper"}})
    config.encoders.speech.layers = 2
    config.encoders.speech.sample_rate = 8000  # Hz
    config.encoders.speech.mel_bins = 40
    config.encoders.speech.dropout = 0.1

    config.losses = ConfigDict({"ctc": {}})
    config.metrics = ("word_error_rate", "character_error_rate")

    config.optimizer = ConfigDict({"name": "adamw", "options": {"weight_decay": 0.05, "b2": 0.98}})
    config.optimizer.schedule = "warmup_cosine"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.warmup_steps = 100
    config.optimizer.clip_norm = 1.0

    config.train = ConfigDict({"steps": 1400, "eval_every": 700})
    config.train.monitor, config.train.mode = "val/word_error_rate", "min"

    return {"default": lambda c: c, "tiny": tiny}[variant](config)


def tiny(config: ConfigDict) -> ConfigDict:
    """Handwriting instead of speech: everything happens, in seconds."""
    config.modalities = ("ink",)
    config.width = 64
    config.data.name = "written_numbers"
    config.data.options = ConfigDict({"most": 3, "words": False})  # "7 3 1"
    config.data.scale_features = False  # these data are of one scale already
    config.data.shapes = ConfigDict({"ink": (60, 8)})  # columns, rows of pixels
    config.encoders = ConfigDict({"ink": {"kind": "series", "name": "transformer", "patch": 2}})
    config.optimizer.learning_rate = 3e-3
    config.optimizer.warmup_steps = 20
    config.train.steps = 300
    config.train.eval_every = 150
    return config
