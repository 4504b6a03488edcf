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

import tempfile
from pathlib import Path

from ml_collections import ConfigDict
from sklearn.datasets import load_iris

VARIANTS = ("default", "tiny")


def get_config(variant: str = "default") -> ConfigDict:
    """The recipe; `variant` is one of VARIANTS."""
    config = ConfigDict()
    config.data = ConfigDict({"name": "own", "options": {}})
    config.train = ConfigDict({"minutes": 2.0})
    return {"default": lambda c: c, "tiny": tiny}[variant](config)


def tiny(config: ConfigDict) -> ConfigDict:
    """Everything happens, in seconds; without files, on a table of irises that is written here."""
    path = Path(tempfile.gettempdir()) / "mmjax_irises.csv"
    irises = load_iris()
    lines = [",".join(["species", *(name.replace(" (cm)", "") for name in irises.feature_names)])]
    for values, species in zip(irises.data, irises.target, strict=True):
        lines.append(",".join([irises.target_names[species], *map(str, values)]))
    path.write_text("\n".join(lines) + "\n")
    config.data.files, config.data.target = str(path), "species"
    config.train.steps, config.train.eval_every = 60, 30
    return config
