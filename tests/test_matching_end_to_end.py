"""A whole run whose model also says whether two inputs match, and hides which modality is which."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from sklearn.metrics import roc_auc_score

import mmjax
from mmjax import factory
from mmjax.data.datasets.digit_halves import digit_halves
from mmjax.errors import UserError
from mmjax.train.reporting.writers import read_metrics
from tests.commands import ROOT, run
from tests.factory.test_factory import module_of

OWN = f"""
import runpy
from ml_collections import ConfigDict

def get_config(variant):
    config = runpy.run_path({str(ROOT / "configs" / "align.py")!r})["get_config"]("tiny")
    if variant != "bare":
        config.matching = ConfigDict({{"name": "multiply"}})
        config.critic = ConfigDict({{"hidden": (16,)}})
    if variant == "unknown":
        config.critic.layers = 2
    config.losses.image_text_matching = ConfigDict()
    if variant != "bare":
        config.losses.gan_discriminator = ConfigDict(
            {{"real": "critic/upper", "fake": "critic/lower"}}
        )
        config.losses.gan_generator = ConfigDict({{"fake": "generator_score/lower", "weight": 0.1}})
    return config
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "own.py"
    path.write_text(OWN)
    return path


@pytest.fixture(scope="module")
def workdir(recipe, tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "matching"
    run("mmjax.main", f"--config={recipe}:full", f"--workdir={directory}")
    return directory


def halves(count):
    test = digit_halves()["test"]
    return {name: list(test.values[name][:count]) for name in ("lower", "upper")}


def test_halves_of_one_digit_match_better_than_those_of_two(workdir):
    last = read_metrics(workdir)[-1]
    assert last["test/recall_at_10"] > 0.6
    # Of three pairs one is right: saying so of each, without a look, costs 0.6365 nats. The
    # negatives of a test are the hardest, harder than those of training.
    assert last["test/image_text_matching"] < 0.66
    for name in ("gan_discriminator", "gan_generator"):
        assert np.isfinite(last[f"test/{name}"])
    model, given = mmjax.load(workdir), halves(300)
    right = model.match(**given)
    wrong = model.match(lower=given["lower"], upper=given["upper"][1:] + given["upper"][:1])
    assert roc_auc_score([1] * 300 + [0] * 300, np.concatenate([right, wrong])) > 0.7
    np.testing.assert_allclose(model.match(**halves(3)), right[:3], atol=1e-5)


def test_what_is_absent_matches_nothing_and_embeddings_are_as_ever(workdir):
    model, given = mmjax.load(workdir), halves(2)
    found = model.match(lower=given["lower"], upper=[given["upper"][0], None])
    assert np.isfinite(found).tolist() == [True, False]
    assert model.embed(**given).keys() == {"lower", "upper"}
    with pytest.raises(UserError, match="match is of two modalities, got lower"):
        model.match(lower=given["lower"])


def test_a_loss_without_the_head_that_it_needs_is_one_line(recipe, tmp_path):
    options = (f"--config={recipe}:bare", f"--workdir={tmp_path}/run")
    _, err = run("mmjax.main", *options, expect=2)
    assert len(err.splitlines()) == 1
    assert "image_text_matching" in err
    assert "'matching/" in err


@pytest.mark.parametrize("head", ["matching", "critic"])
def test_a_head_that_the_task_does_not_have_is_one_line(head):
    config = module_of(ROOT / "configs" / "fusion.py").get_config("tiny")
    config[head] = ConfigDict({"name": "multiply" if head == "matching" else "dense"})
    with pytest.raises(UserError, match=f"config.{head} is for .*'alignment', not for"):
        factory.checked(config)


def test_an_option_that_a_critic_lacks_is_one_line(recipe, tmp_path):
    options = (f"--config={recipe}:unknown", f"--workdir={tmp_path}/run")
    _, err = run("mmjax.main", *options, expect=2)
    assert len(err.splitlines()) == 1
    assert "config.critic" in err
    assert "layers" in err


def test_a_model_without_the_head_says_so(tmp_path):
    run(
        "mmjax.main",
        f"--config={ROOT}/configs/align.py:tiny",
        f"--workdir={tmp_path}/run",
        "--config.train.steps=2",
        "--config.train.eval_every=2",
    )
    with pytest.raises(UserError, match=r"does not predict match/lower-upper; .*config.matching"):
        mmjax.load(tmp_path / "run").match(**halves(2))
