"""Which words are said? Numbers of two to five spoken digits, written letter by letter (CTC).

Command:  python -m mmjax.main --config=configs/speech.py --workdir=runs/speech
Hardware: two CPU cores, 10 minutes.
Expect:   test word error rate 0.10 for voices that it knows and 0.86 for one that it never heard
          (experiments/transcription/README.md); 1.0 for writing nothing.

Needs real recordings, 27 MB (see mmjax.data.datasets.spoken_numbers):
git clone https://github.com/Jakobovski/free-spoken-digit-dataset \
    ~/.cache/mmjax/data/free-spoken-digit-dataset

Variants:
  configs/speech.py:tiny    handwritten numbers; no download; 20 seconds
"""

from ml_collections import ConfigDict

VARIANTS = ("default", "tiny")


def get_config(variant: str = "default") -> ConfigDict:
    """The recipe; `variant` is one of VARIANTS."""
    config = ConfigDict()
    config.seed = 0
    config.task = "transcription"
    config.modalities = ("speech",)
    config.dtype = "float32"
    config.width = 96

    config.data = ConfigDict()
    config.data.name = "spoken_numbers"
    config.data.dir = "~/.cache/mmjax/data"
    config.data.options = ConfigDict(
        {"recordings": "", "seconds": 3.5, "new_voices": ("george",), "louder": 10.0}
    )
    config.target = "text"  # which texts of the data set are to be written
    config.data.shapes = ConfigDict({"speech": (28000,)})  # samples at 8 kHz
    config.data.batch_size = 32
    config.data.scale_features = False  # these data are of one scale already
    config.data.resample = ""
    config.data.workers = 0  # processes
    config.data.threads = 1
    config.data.prefetch = 4  # batches

    config.encoders = ConfigDict()
    config.encoders.speech = ConfigDict(
        {
            "kind": "audio",
            "name": "whisper",  # 50 tokens a second; CTC takes one for each letter at least
            "layers": 2,
            "sample_rate": 8000,  # Hz
            "mel_bins": 40,
            "dropout": 0.1,
        }
    )
    config.head = ConfigDict({"dropout": 0.0})

    config.losses = ConfigDict({"ctc": {"weight": 1.0}})
    config.metrics = ("word_error_rate", "character_error_rate")
    config.augment = ConfigDict()

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.options = ConfigDict({"weight_decay": 0.05, "b2": 0.98})
    config.optimizer.schedule = "warmup_cosine"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.warmup_steps = 100
    config.optimizer.end_factor = 0.0
    config.optimizer.clip_norm = 1.0
    config.optimizer.accumulate = 1
    config.optimizer.ema = 0.0
    config.optimizer.freeze = ()
    config.optimizer.layer_decay = 1.0
    config.optimizer.unfreeze = ()
    config.tuning = ConfigDict({"name": "full"})

    config.train = ConfigDict()
    config.train.steps = 1400
    config.train.log_every = 100
    config.train.eval_every = 700
    config.train.checkpoint_every = 0
    config.train.keep = 1
    config.train.monitor = "val/word_error_rate"
    config.train.mode = "min"
    config.train.patience = 0
    config.train.max_skipped = 10

    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})
    config.compilation_cache = "~/.cache/mmjax/compiled"

    return {"default": lambda c: c, "tiny": tiny}[variant](config)


def tiny(config: ConfigDict) -> ConfigDict:
    """Handwriting instead of speech: everything happens, in seconds."""
    config.modalities = ("ink",)
    config.width = 64
    config.data.name = "written_numbers"
    config.data.options = ConfigDict({"most": 3, "words": False})  # "7 3 1"
    config.data.shapes = ConfigDict({"ink": (60, 8)})  # columns, rows of pixels
    config.encoders = ConfigDict({"ink": {"kind": "series", "name": "transformer", "patch": 2}})
    config.optimizer.learning_rate = 3e-3
    config.optimizer.warmup_steps = 20
    config.train.steps = 300
    config.train.eval_every = 150
    return config
