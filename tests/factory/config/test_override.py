"""--config.KEY=VALUE sets any key, and any option of the part that the config names."""

import pytest

from mmjax import cli, factory
from tests.commands import ROOT


def of(file, *arguments):
    given = cli.config_arguments(["main", *(f"--config.{a}" for a in arguments)])
    config = cli.load_config(f"{ROOT}/configs/{file}")
    return factory.checked(factory.overridden(config, given.keys)).to_dict()


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (["fusion=concat"], "fusion", {"name": "concat"}),
        (["fusion=concat", "fusion.dropout=0.1"], "fusion", {"name": "concat", "dropout": 0.1}),
        (["fusion.dropout=0.1", "fusion=concat"], "fusion", {"name": "concat", "dropout": 0.1}),
        (["fusion.dropout=0"], "fusion.dropout", 0.0),
        (["fusion={'name': 'lmf', 'rank': 2}"], "fusion", {"name": "lmf", "rank": 2}),
        (["fusion=lmf", "fusion.rank=1e1"], "fusion.rank", 10),
        (["train.steps=1e3"], "train.steps", 1000),
        (["train.steps=1_000"], "train.steps", 1000),
        (["train.steps=5", "train.steps=7"], "train.steps", 7),
        (["optimizer.learning_rate=1"], "optimizer.learning_rate", 1.0),
        (["optimizer.options.b1=0"], "optimizer.options.b1", 0.0),
        (["optimizer=sgd"], "optimizer.options", {}),
        (["optimizer=sgd", "optimizer.options.momentum=0"], "optimizer.options.momentum", 0.0),
        (["optimizer.freeze=^heads"], "optimizer.freeze", ("^heads",)),
        (["encoders.text=lstm"], "encoders.text", {"name": "lstm"}),
        (
            ["encoders.image.freeze=True", "encoders.image.checkpoint=a"],
            "encoders.image",
            {"name": "pretrained", "path": "a", "freeze": True},
        ),
        (
            ["encoders.text.kind=image", "encoders.text.checkpoint=a"],
            "encoders.text",
            {"name": "pretrained", "path": "a", "kind": "image"},
        ),
        (["encoders.image.channels=[8, 16, 16]"], "encoders.image.channels", (8, 16, 16)),
        (["encoders.image.channels[1]=8"], "encoders.image.channels", (32, 8, 64)),
        (["encoders.image.strides=None"], "encoders.image.strides", None),
        (["data.shapes.text=(5,)"], "data.shapes", {"text": (5,)}),
        (["data.cache=false"], "data.cache", False),
        (["data.dir=2024"], "data.dir", "2024"),
        (["data.dir=None"], "data.dir", "None"),
        (["head.hidden=()", "head.kernel_init=glorot_uniform"], "head.hidden", ()),
        (["modalities=text"], "modalities", ("text",)),
        (["losses=focal"], "losses", ("focal",)),
        (["losses.focal.weight=2"], "losses.focal", {"weight": 2}),
        (
            ["losses.cross_entropy.weight=2.0", "losses.cross_entropy.label_smoothing=1e-1"],
            "losses.cross_entropy",
            {"weight": 2.0, "label_smoothing": 0.1},
        ),
        (["augment.image.shift.pixels=2"], "augment.image.flip_horizontal", {}),
        (["metrics=brier"], "metrics", ("brier",)),
        (["metrics.top_k.k=3"], "metrics", {"accuracy": {}, "top_k": {"k": 3}}),
        (["augment.image.shift.pixels=2.0"], "augment.image.shift.pixels", 2),
        (["tuning=lora", "tuning.rank=2"], "tuning", {"name": "lora", "rank": 2}),
        (["mesh={'data': 2}"], "mesh", {"data": 2, "fsdp": 1, "tensor": 1}),
    ],
)
def test_a_key_is_set_in_its_type(arguments, key, value):
    node = of("vqa.py:tiny", *arguments)
    for part in key.split("."):
        node = node[part]
    assert node == value
    assert type(node) is type(value)


def test_a_value_may_be_the_next_word():
    given = cli.config_arguments(["main", "--config", "a.py", "--config.seed", "16", "--x=1"])
    assert given == ("a.py", [("seed", "16")], ["main", "--x=1"])


def test_the_kind_of_an_encoder_stays_and_a_name_keeps_no_old_option():
    before = of("fusion.py:tiny")["encoders"]["a"]
    assert before == {"kind": "vector", "name": "mlp"}
    after = of("fusion.py:tiny", "encoders.a.hidden=(8,)", "encoders.b=transformer")["encoders"]
    assert after["a"] == {**before, "hidden": (8,)}
    assert after["b"] == {"kind": "vector", "name": "transformer"}


def test_a_config_in_python_may_use_the_same_short_forms():
    config = cli.load_config(f"{ROOT}/configs/vqa.py:tiny")
    with config.ignore_type():
        config.fusion, config.tuning = "concat", "bitfit"
        config.train.steps, config.optimizer.learning_rate = 1e2, 1
    found = factory.checked(config)
    assert found.fusion.to_dict() == {"name": "concat"}
    assert found.tuning.to_dict() == {"name": "bitfit"}
    assert (found.train.steps, type(found.train.steps)) == (100, int)
    assert (found.optimizer.learning_rate, type(found.optimizer.learning_rate)) == (1.0, float)
    assert factory.checked(found).to_dict() == found.to_dict()
