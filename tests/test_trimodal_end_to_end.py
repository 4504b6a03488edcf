"""A whole run of three tasks, `configs/trimodal.py`, without what must be fetched."""

import itertools

import numpy as np
import pytest

import mmjax
from mmjax import cli, factory
from mmjax.data.datasets.digit_triples import digit_triples
from mmjax.train.reporting.writers import read_metrics
from tests.commands import ROOT, run

CONFIG = f"{ROOT}/configs/trimodal.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "trimodal"
    run("mmjax.main", f"--config={CONFIG}:tiny", f"--workdir={workdir}")
    return workdir


def test_tiny_learns_both_tasks(trained):
    last = read_metrics(trained)[-1]
    assert last["test/written/accuracy"] > 0.8  # the most frequent digit: 0.11
    assert last["test/read/accuracy"] > 0.4


def test_a_picture_and_a_word_are_answered_at_once(trained):
    test = digit_triples(dir="", modalities=("image", "text"), image_size=8)["test"]
    model = mmjax.load(trained)
    pictures, words = test.values["image"][:64], test.texts["text"][:64]
    answers = model(image=list(pictures), text=list(words))
    digits = test.targets["written"].values[np.argsort(test.index["image"][:300])][:64]
    found = [int(of["written"][0]["answer"]) for of in answers]
    assert np.mean(np.array(found) == digits) > 0.8
    assert {of["read"][0]["answer"] for of in answers} <= set("0123456789")


@pytest.mark.parametrize("variant", ["mixed", "alternating"])
def test_an_example_of_a_mixture_has_one_modality_and_its_task(variant, tmp_path):
    config = cli.load_config(f"{CONFIG}:{variant}")
    config.modalities = ("image", "text")
    with config.unlocked():
        del config.tasks["spoken"], config.data.options.parts["spoken"]
        config.data.shapes = {}
        config.encoders.image.depth, config.compilation_cache = 10, ""
    _, experiment = factory.experiment(factory.checked(config), str(tmp_path / "run"))
    batches = list(itertools.islice(experiment.train_data(), 8))
    for batch in batches:
        written = batch["targets/written_mask"]
        np.testing.assert_array_equal(written, batch["image_mask"])
        np.testing.assert_array_equal(~written, batch["targets/read_mask"])
        np.testing.assert_array_equal(~written, batch["text_mask"].any(axis=1))
        if variant == "alternating":
            assert written.all() or not written.any()
    share = np.mean([batch["targets/written_mask"].mean() for batch in batches])
    assert share == pytest.approx(0.5, abs=0.16)  # 256 draws: a deviation of 0.03


def test_separate_tasks_share_nothing():
    config = factory.checked(cli.load_config(f"{CONFIG}:separate"))
    model = factory.model(config, classes=10, vocabulary_size=28)
    assert model.reads == {"written": ("image",), "spoken": ("audio",), "read": ("text",)}
    assert set(model.trunks) == {"image", "audio", "text"}
