"""A number: scaled by its training split, predicted and judged in its own unit."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from mmjax.data.sources.targets import Target
from mmjax.losses.targets.regression import l2
from mmjax.metrics.regression import regression as errors
from mmjax.tasks.keyed import KeyedFunction
from mmjax.tasks.regression import REGRESSION, regression, scaled
from mmjax.tasks.task import Question

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(70, 12, 40)


def reads(*parameters):
    given = REGRESSION.given("weight", "kilograms")
    return {name: given[name] for name in parameters}


def task_of(vocabulary):
    return regression(
        Question(
            modalities=("a",),
            losses={"l2": KeyedFunction(l2, reads("predictions", "targets"), "config.losses")},
            metrics={},
            dataset_metrics={
                "regression": KeyedFunction(errors, reads("predicted", "truth"), "config.metrics")
            },
            name="weight",
            target="kilograms",
            vocabulary=vocabulary,
        )
    )


def test_targets_are_scaled_by_what_is_known_of_training():
    known = np.arange(40) < 30
    splits = {"train": Target(NUMBERS, mask=known), "test": Target(NUMBERS[:3] + 5)}
    found, scale = scaled(splits, None)
    np.testing.assert_allclose(scale, [NUMBERS[known].mean(), NUMBERS[known].std()])
    np.testing.assert_allclose(found["train"].values[known].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(found["train"].values[known].std(), 1, rtol=1e-6)
    expected = (NUMBERS[:3] + 5 - scale[0]) / scale[1]
    np.testing.assert_allclose(found["test"].values, expected, rtol=1e-6)
    assert scaled(splits, [1.0, 2.0])[1] == [1.0, 2.0]  # as the workdir has it
    assert scaled({"train": Target(np.full(3, 7.0))}, None)[1] == [7.0, 1.0]  # no spread


def test_losses_see_scaled_numbers_and_users_their_own_unit():
    (found, scale), guess = scaled({"train": Target(NUMBERS)}, None), RNG.normal(size=40)
    task, known = task_of(scale), np.arange(40) % 4 != 0
    batch = {
        "targets/kilograms": jnp.asarray(found["train"].values),
        "targets/kilograms_mask": jnp.asarray(known),
        "slice": jnp.zeros(40, jnp.int32),
        "_mask": jnp.arange(40) < 38,
    }
    outputs = {"weight": jnp.asarray(guess, jnp.float32)}
    rows = task.losses(outputs, batch)["l2"]
    np.testing.assert_array_equal(rows.mask, known & (np.arange(40) < 38))
    expected = (guess - found["train"].values) ** 2
    np.testing.assert_allclose(rows.value, expected, rtol=1e-5)
    kept = {name: np.asarray(x) for name, x in task.keep(outputs, batch).items()}
    there = np.asarray(rows.mask)
    truth, predicted = NUMBERS[there], (guess * scale[1] + scale[0])[there]
    got = task.dataset_metrics(kept)
    assert got["mae"] == pytest.approx(metrics.mean_absolute_error(truth, predicted), rel=1e-5)
    assert got["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, predicted), rel=1e-5)
    assert got["r2"] == pytest.approx(metrics.r2_score(truth, predicted), rel=1e-5)
    baseline = task.baselines(kept)["rmse of the training mean"]
    assert baseline == pytest.approx(np.sqrt(np.mean((truth - scale[0]) ** 2)), rel=1e-5)
    (answer,) = task.answer({"value": predicted[:1]}, {}, None)[0]
    assert answer == {"answer": pytest.approx(predicted[0])}
    assert task.figures(kept).keys() == {"scatter"}


def test_equal_targets_have_no_r2():
    found = errors(np.array([1.0, 2.0]), np.array([3.0, 3.0]))
    assert np.isnan(found["r2"])
    assert (found["mae"], found["rmse"]) == (1.5, pytest.approx(np.sqrt(2.5)))
