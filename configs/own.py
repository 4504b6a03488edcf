"""Whatever you have: a CSV of photos, texts, sounds, videos and numbers, and what to predict.

Command:  mmjax --config=own --config.data.files=train.csv --config.data.target=label \
              --workdir=runs/own
Hardware: two CPU cores; two minutes of training, unless --config.train.minutes says otherwise.
Expect:   a table with baselines: the majority, and linear models of simple features, of each
          modality alone and of all of them.

The columns are looked at: their types are shown, and say which modalities, encoders and tasks there
are (mmjax.factory.automatic). Whatever is set here or on the command line stays as it is, such as
--config.data.options.types.age=number or --config.encoders.photo.name=vit.
"""

from ml_collections import ConfigDict

VARIANTS = ("default", "tiny")


def get_config(variant: str = "default") -> ConfigDict:
    """The recipe; `variant` is one of VARIANTS."""
    config = ConfigDict()
    config.data = ConfigDict({"name": "own", "options": {}})
    config.train = ConfigDict({"minutes": 2.0})
    return {"default": lambda c: c, "tiny": tiny}[variant](config)


def tiny(config: ConfigDict) -> ConfigDict:
    """Everything happens, in seconds; without files, on a table of 96 rows that is made here."""
    numbers = [(37 * row) % 96 for row in range(96)]
    config.data.files = ConfigDict(
        {
            "width": tuple(float(number % 12) for number in numbers),
            "color": tuple("red" if number % 5 < 2 else "blue" for number in numbers),
            "note": tuple(f"it is number {number} of many things" for number in numbers),
            "label": tuple("wide" if number % 12 > 5 else "thin" for number in numbers),
        }
    )
    config.data.target = "label"
    config.train.steps, config.train.eval_every = 60, 30
    return config
