import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.train import sharding
from mmjax.train.step import eval_step, masked_mean
from tests.train.toy import TASKS, Toy, make_batch, same


def test_masked_mean_ignores_what_is_masked_and_survives_an_empty_mask():
    values = jnp.array([1.0, 3.0, jnp.nan])
    assert masked_mean(values, jnp.array([True, True, False])) == 2.0
    assert masked_mean(values, jnp.zeros(3, bool)) == 0.0
    grad = jax.grad(lambda v: masked_mean(v * v, jnp.array([True, True, False])))
    assert grad(jnp.array([1.0, 3.0, 7.0])).tolist() == [1.0, 3.0, 0.0]


def test_padding_rows_change_nothing_whatever_they_hold():
    toy = Toy()
    padded = make_batch(rows=8, real=5)
    short = {name: array[:5] for name, array in padded.items()}
    noisy = {
        k: np.where(np.arange(8)[:, None] < 5, v, 1e3) if v.ndim == 2 else v
        for k, v in padded.items()
    }
    noisy["vector"] = noisy["vector"].astype(np.float32)
    state, metrics = toy.step(toy.state, padded)
    other, other_metrics = toy.step(toy.state, noisy)
    assert same(state, other)
    assert same(metrics, other_metrics)
    expected, expected_metrics = toy.step(toy.state, short)
    for got, want in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)
    assert metrics["accuracy"].count == expected_metrics["accuracy"].count == 5


def test_random_numbers_depend_on_the_step_alone():
    toy = Toy(dropout=0.5)
    batch = make_batch()
    first, _ = toy.step(toy.state, batch)
    again, _ = toy.step(toy.state, batch)
    assert same(first, again)
    later, _ = toy.step(toy.state.replace(step=toy.state.step + 1), batch)
    assert not same(first.params, later.params)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_is_counted_and_not_applied(bad):
    toy = Toy(ema=0.9)
    batch = make_batch()
    broken = dict(batch, vector=batch["vector"] * np.float32(bad))
    state, metrics = toy.step(toy.state, batch)
    skipped, bad_metrics = toy.step(state, broken)
    for name in ("params", "ema_params", "opt_state"):
        assert same(getattr(skipped, name), getattr(state, name))
    assert (int(skipped.step), int(skipped.skipped), int(skipped.skipped_in_a_row)) == (2, 1, 1)
    assert bad_metrics["loss"].count == 0
    assert np.isfinite(metrics["loss"].merge(bad_metrics["loss"]).compute())
    after, _ = toy.step(skipped, batch)
    assert (int(after.skipped), int(after.skipped_in_a_row)) == (1, 0)
    assert not same(after.params, skipped.params)


def test_the_moving_average_follows_its_formula():
    toy = Toy(ema=0.9)
    state, average = toy.state, np.asarray(toy.state.params["Dense_0"]["kernel"], np.float64)
    for t in range(3):
        state, _ = toy.step(state, make_batch(seed=t))
        decay = min(0.9, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * np.asarray(state.params["Dense_0"]["kernel"])
    np.testing.assert_allclose(state.ema_params["Dense_0"]["kernel"], average, rtol=1e-5)
    assert state.eval_variables["params"] is state.ema_params
    assert toy.state.replace(ema_params=None).eval_variables["params"] is toy.state.params


def test_running_statistics_follow_their_formula_and_are_what_evaluation_uses():
    toy = Toy(batch_norm=True)
    state, mean = toy.state, np.zeros(4)
    for t in range(3):
        batch = make_batch(seed=t)
        state, _ = toy.step(state, batch)
        mean = 0.9 * mean + 0.1 * batch["vector"].mean(0)
    np.testing.assert_allclose(
        state.model_state["batch_stats"]["BatchNorm_0"]["mean"], mean, rtol=1e-5
    )
    evaluate = functools.partial(eval_step, model=toy.model, tasks=TASKS, slices=())
    _, rows = evaluate(state.eval_variables, jax.tree.map(jnp.array, batch))
    half = jax.tree.map(lambda x: jnp.array(x[:4]), batch)
    _, fewer = evaluate(state.eval_variables, half)
    assert same(rows["label"]["prediction/label"][:4], fewer["label"]["prediction/label"])
    skipped, _ = toy.step(state, dict(batch, vector=batch["vector"] * np.float32(np.nan)))
    assert same(skipped.model_state, state.model_state)


def test_eight_devices_give_the_loss_and_the_gradient_of_one():
    toy, batch = Toy(), make_batch(rows=16, real=13)
    one = jax.jit(toy.raw_step)(toy.state, batch)
    for axes in ((8, 1, 1), (2, 2, 2)):
        data, fsdp, tensor = axes
        mesh = sharding.make_mesh(data=data, fsdp=fsdp, tensor=tensor, rows=(16,))
        state = jax.device_put(toy.state, sharding.state_sharding(toy.state, mesh))
        eight = jax.jit(toy.raw_step)(state, sharding.put_batch(batch, mesh))
        for name in ("loss", "grad_norm", "accuracy"):
            np.testing.assert_allclose(
                one[1][name].compute(), eight[1][name].compute(), rtol=2e-6, err_msg=name
            )


def test_evaluation_counts_each_group_and_no_padding():
    toy, batch = Toy(), make_batch(rows=8, real=5)
    averages, rows = eval_step(
        toy.state.eval_variables,
        jax.tree.map(jnp.array, batch),
        model=toy.model,
        tasks=TASKS,
        slices=("even", "odd"),
    )
    correct = np.asarray(rows["label"]["prediction/label"]) == batch["targets/label"]
    for name, kept in (("", np.arange(5)), ("/even", [0, 2, 4]), ("/odd", [1, 3])):
        assert int(averages[f"accuracy{name}"].count) == len(kept)
        assert float(averages[f"accuracy{name}"].compute()) == np.float32(correct[kept].mean())
