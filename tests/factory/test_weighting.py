"""config.weighting -> a weighting or an aggregator, or one line that says what is wrong."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax import cli, factory
from mmjax.errors import UserError
from mmjax.factory.config.help import describe
from mmjax.factory.make_weighting import task_weights
from mmjax.train import weighting


def config_with(spec, name="fusion:tasks", **weights):
    config = cli.load_config(name)
    with config.unlocked():
        config.weighting = spec
        for task, weight in weights.items():
            config.tasks[task].weight = weight
    return factory.checked(config)


@pytest.mark.parametrize("name", factory.WEIGHTINGS)
def test_each_name_of_the_table_is_of_its_kind(name):
    ends = {"start": (1.0, 0.0), "end": (0.0, 1.0)} if name == "scheduled" else {}
    found = task_weights(config_with({"name": name, **ends}))
    is_aggregator = name in factory.AGGREGATORS
    assert (found.aggregator is not None) == is_aggregator
    assert isinstance(found.weighting, weighting.LossWeighting)
    assert is_aggregator == isinstance(found.aggregator, optax.GradientTransformation)
    assert (found.modulator is not None) == (name in factory.MODULATORS)
    assert (found.feature_loss is not None) == (name in factory.FEATURE_LOSSES)
    assert bool(found.alone) == (name in (*factory.MODULATORS, "mmpareto"))


def test_each_modality_alone_may_be_a_further_task_also_of_one():
    config = config_with({"name": "famo", "alone": True}, name="fusion:tiny")
    found = task_weights(config)
    assert found.alone == config.modalities
    assert found.weighting.init(1 + len(found.alone)).logits.shape == (1 + len(found.alone),)
    plain = task_weights(config_with({"name": "fixed", "alone": True}, name="fusion:tiny"))
    weights, _ = plain.weighting.update(jnp.ones(1 + len(found.alone)), None)
    np.testing.assert_array_equal(weights, 1.0)
    for name in ("agm", "ogm_ge", "mmpareto"):
        assert task_weights(config_with(name, name="fusion:tiny")).alone == config.modalities


def test_one_modality_has_nothing_to_be_weighed_against():
    config = config_with("ogm_ge", name="fusion:tiny")
    config.modalities = config.modalities[:1]
    with pytest.raises(UserError, match="config.modalities has one"):
        task_weights(config)


def test_the_default_is_the_weights_of_the_tasks():
    config = cli.load_config("fusion:tasks")
    config.tasks.total.weight = 3.0
    found = task_weights(factory.checked(config))
    assert found.aggregator is None
    np.testing.assert_array_equal(found.weighting.update(jnp.ones(2), None)[0], [1.0, 3.0])


def test_weights_of_tasks_are_factors_beforehand():
    found = task_weights(config_with("gls", total=3.0)).weighting
    losses = jnp.array([2.0, 4.0])
    inner, _ = weighting.gls().update(losses * jnp.array([1.0, 3.0]), None)
    np.testing.assert_allclose(found.update(losses, None)[0], inner * jnp.array([1.0, 3.0]))
    among = task_weights(config_with("pcgrad", total=3.0))
    np.testing.assert_array_equal(among.weighting.update(losses, None)[0], [1.0, 3.0])


def test_options_and_the_order_of_gradients_are_read():
    found = task_weights(config_with({"name": "cagrad", "c": 0.0, "one_by_one": True}))
    assert found.one_by_one
    gradients = jnp.array([[1.0, 0.0], [-1.0, 4.0]])
    mean, _ = found.aggregator.update(gradients, found.aggregator.init(None))
    np.testing.assert_allclose(mean, [0.0, 2.0], atol=1e-6)


def test_a_name_may_be_an_import_path():
    found = task_weights(config_with({"name": "mmjax.train.weighting:gradvac", "decay": 0.1}))
    assert found.aggregator.init(None).expected.shape == (2, 2)
    found = task_weights(config_with("mmjax.train.weighting:uncertainty"))
    assert found.aggregator is None
    found = task_weights(config_with({"name": "mmjax.train.weighting:pmr", "alpha": 0.5}))
    assert isinstance(found.feature_loss, weighting.FeatureLoss)
    assert not found.alone


def test_a_loss_of_features_needs_modalities_and_a_task_of_classes():
    config = config_with({"name": "pmr", "alone": True}, name="fusion:tiny")
    assert task_weights(config).alone == config.modalities
    with pytest.raises(UserError, match="needs a task that is asked for a class"):
        task_weights(config_with("pmr", name="fusion:tags"))
    config.modalities = config.modalities[:1]
    with pytest.raises(UserError, match="config.modalities has one"):
        task_weights(config)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("fano", r"config.weighting.name: unknown 'fano'; did you mean 'famo'"),
        ({"name": "cagrad", "d": 1.0}, r"config.weighting \(cagrad\): unknown 'd'"),
        ({"name": "cagrad", "c": -1.0}, r"config.weighting \(cagrad\): c=-1.0 must be 0 or more"),
        ({"name": "gradvac", "tasks": 3}, "unknown 'tasks'"),
        ({"name": "fixed", "weights": (1.0, 2.0)}, "unknown 'weights'"),
        ({"name": "scheduled"}, "config.weighting.start is missing"),
        ({"name": "scheduled", "start": (1.0,), "end": (1.0,)}, "there are 2 tasks"),
        ({"name": "pcgrad", "one_by_one": 3}, "config.weighting.one_by_one=3: give True or False"),
        ({"name": "famo", "one_by_one": True}, "is for aggregators"),
        ({"name": "ogm_ge", "one_by_one": True}, "is for aggregators"),
        ({"name": "famo", "alone": 1}, "config.weighting.alone=1: give True or False"),
        ({"name": "ogm_ge", "modalities": ("a",)}, "unknown 'modalities'"),
        ({"name": "pmr", "classes": 3}, r"config.weighting \(pmr\): unknown 'classes'"),
        ({"name": "pmr", "momentum": 1.0}, r"config.weighting \(pmr\): momentum=1.0: give 0 or"),
        ({"name": "pmr", "one_by_one": True}, "is for aggregators"),
        ("mmjax.types:Tokens", "config.weighting.x is missing|must give a LossWeighting"),
        ("optax:constant_schedule", "config.weighting.value is missing"),
        ({"name": "optax:constant_schedule", "value": 1.0}, "must give a LossWeighting"),
    ],
)
def test_what_cannot_be_is_one_line(spec, words):
    with pytest.raises(UserError, match=words):
        task_weights(config_with(spec))


def test_one_task_has_nothing_to_be_weighed_against():
    with pytest.raises(UserError, match="config.weighting='famo' weighs tasks against each other"):
        task_weights(config_with("famo", name="fusion:tiny"))
    found = task_weights(factory.checked(cli.load_config("fusion:tiny")))
    assert found.aggregator is None


def test_help_tells_the_kinds_and_options():
    assert "learning_rate" in describe("weighting.famo")
    assert "tasks  " not in describe("weighting.gradvac").replace("gradvac", "")
