"""A model whose config.json is not that of its weights: one line, soon, and in little memory."""

import json
import time

import pytest

import mmjax
from experiments.fuzz import models, run, targets
from mmjax import interop
from mmjax.errors import UserError

NAMES = ("bert", "videomae", "vit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    for name in NAMES:
        models.write(path / name, models.CONFIGS[name])
    return path


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bert", {"num_hidden_layers": 10**9}, "num_hidden_layers=1000000000, over 1024"),
        ("videomae", {"num_frames": 10**6, "image_size": 10**4}, "positions are over"),
        ("bert", {"num_hidden_layers": 2.0}, "num_hidden_layers=2.0"),
        ("bert", {"num_hidden_layers": 200}, "tensors .* are missing"),
        ("bert", {"hidden_size": 2**40}, "hidden_size=1099511627776, over"),
        ("bert", {"hidden_size": 0}, "heads|fit|shape"),
        ("bert", {"intermediate_size": -3}, "fit"),
        ("bert", {"vocab_size": 10**6}, "fit"),
        ("bert", {"hidden_act": ["gelu"]}, "hidden_act"),
        ("bert", {"model_type": ["bert"]}, "model_type"),
        (
            "vit",
            {"patch_size": 0},
            "config.json and the tensors are of no model of the architecture vit",
        ),
        ("vit", {"image_size": [16, "x"]}, "image_size"),
        ("vit", {"id2label": [1, 2]}, "labels"),
        ("vit", {"id2label": {"a": 1}}, "labels"),
    ],
)
def test_a_config_that_cannot_be_is_one_line(folder, name, changes, message):
    file = folder / name / "config.json"
    file.write_text(json.dumps(models.CONFIGS[name] | changes))
    begun = time.process_time()
    with pytest.raises(UserError, match=message) as caught:
        mmjax.load(folder / name)
    assert time.process_time() - begun < 10
    assert "\n" not in str(caught.value)
    assert str(folder / name) in str(caught.value)
    file.write_text(json.dumps(models.CONFIGS[name]))
    assert interop.load(folder / name).report.parameters


def test_some_damaged_configs(tmp_path):
    attempt = models.configs(targets.drawn, tmp_path, NAMES)
    outcomes = set()
    for number in range(20):
        outcome, said = run.attempt(attempt, number, 0, tmp_path)
        assert outcome != "failed", f"{number}: {said}"
        outcomes.add(outcome)
    assert outcomes == {"read", "refused"}
