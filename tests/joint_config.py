"""Recipes with a whole published model: pictures and questions that are drawn, and a small CLIP."""

import json

import mmjax
from mmjax import cli, factory


def config_of(path, *, freeze=False, **changes):
    """`configs/align.py` on the data set "shapes", with config.model."""
    config = factory.checked(cli.load_config("align"))
    config.data.name, config.data.image_size, config.data.text_length = "shapes", 16, 16
    config.data.options = {"train": 64, "validation": 16, "test": 16}
    del config.data.batch_size, config.encoders, config.alignment, config.width, config.losses
    config.data.images_per_batch, config.data.questions_per_image = 8, 2
    config.model = mmjax.pretrained(path, freeze=freeze)
    config.losses = {"info_nce": {}}
    config.augment = {}
    config.mesh, config.optimizer.warmup_steps = {"data": 1}, 1
    config.train.update({"steps": 10, "log_every": 5, "eval_every": 0})
    for key, value in changes.items():
        if key in config:
            del config[key]
        config[key] = value
    return factory.as_config(json.loads(config.to_json()))
