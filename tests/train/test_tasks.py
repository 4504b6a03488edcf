"""Several tasks in one step: their losses, how they weigh, and two seats for more ways."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax.train import weighting
from mmjax.train.state import create_state
from mmjax.train.step import eval_step
from tests.train.toy import TASK, Toy, make_batch, same

TWO = {"easy": TASK, "hard": TASK}  # of the same output
WEIGHTS = {name: {"cross_entropy": 1.0} for name in TWO}


def step_of(toy, optimizer, how, state=None, **options):
    state = toy.state if state is None else state
    state = state.replace(opt_state=optimizer.init(state.params), weighting=how.init(2))
    batch = make_batch(rows=8, real=6)
    changes = {"tasks": TWO, "weights": WEIGHTS, "weighting": how, "optimizer": optimizer}
    run = functools.partial(toy.raw_step, **changes, **options)
    return jax.jit(run)(state, batch)


def moved(toy, state):
    return jax.tree.map(lambda a, b: np.asarray(a - b), toy.state.params, state.params)


def test_tasks_weigh_as_they_are_told_and_have_names_of_their_own():
    toy, sgd = Toy(), optax.sgd(1.0)
    state, metrics = step_of(toy, sgd, weighting.fixed([0.25, 0.5]))
    half, _ = step_of(toy, sgd, weighting.fixed([0.75, 0.0]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), state, half)
    loss = float(metrics["easy/cross_entropy"].compute())
    assert float(metrics["loss"].compute()) == pytest.approx(0.75 * loss)
    assert float(metrics["hard/loss"].compute()) == pytest.approx(loss)
    assert {"easy/accuracy", "hard/accuracy", "easy/loss"} <= metrics.keys()
    averages, rows = eval_step(
        state.eval_variables,
        jax.tree.map(jnp.asarray, make_batch()),
        model=toy.model,
        tasks=TWO,
        slices=("even",),
    )
    assert {"easy/accuracy", "hard/accuracy/even"} <= averages.keys()
    assert rows.keys() == TWO.keys()


def test_a_loss_weighting_may_follow_the_losses_and_has_a_state():
    """Each weight is the share of its loss in what it was at first, and gives no gradient."""
    toy, sgd = Toy(), optax.sgd(1.0)

    def update(losses, first):
        first = jnp.where(first == 0, losses, first)
        return losses / first, first

    how = weighting.LossWeighting(lambda tasks: jnp.zeros(tasks), update)
    state, metrics = step_of(toy, sgd, how)
    plain, _ = step_of(toy, sgd, weighting.fixed([1.0, 1.0]))
    assert same(state.params, plain.params)
    loss = float(metrics["easy/loss"].compute())
    np.testing.assert_allclose(state.weighting, [loss, loss], rtol=1e-6)
    begun = toy.state.replace(weighting=None)
    how = how._replace(init=lambda tasks: jnp.full(tasks, 2 * loss))
    halved, _ = step_of(toy, sgd, how, begun)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b / 2, rtol=1e-5, atol=1e-7),
        moved(toy, halved),
        moved(toy, plain),
    )


def test_a_gradient_aggregator_is_given_the_gradient_of_each_task():
    toy = Toy()
    seen = []

    def spy(updates, state, params=None):
        del params
        seen.append(jax.tree.map(jnp.shape, updates))
        return updates, state

    look = optax.GradientTransformation(lambda _: optax.EmptyState(), spy)
    optimizer = optax.chain(look, weighting.mean_of_tasks(), optax.sgd(1.0))
    how = weighting.fixed([1.0, 3.0])
    state, metrics = step_of(toy, optimizer, how, per_task_gradients=True)
    plain, plain_metrics = step_of(toy, optax.sgd(1.0), weighting.fixed([0.5, 1.5]))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        moved(toy, state),
        moved(toy, plain),
    )
    kernel = toy.state.params["Dense_0"]["kernel"].shape
    assert seen[0]["Dense_0"]["kernel"] == (2, *kernel)
    assert metrics["easy/loss"].compute() == plain_metrics["easy/loss"].compute()


def test_a_step_that_is_not_finite_leaves_the_weighting_as_it_was():
    toy = Toy()
    how = weighting.LossWeighting(lambda n: jnp.ones(n), lambda losses, s: (losses * 0, s + losses))
    bad = toy.state.replace(params=jax.tree.map(lambda x: x * jnp.nan, toy.state.params))
    state, _ = step_of(toy, optax.sgd(1.0), how, bad)
    np.testing.assert_array_equal(state.weighting, [1, 1])
    assert int(state.skipped) == 1


def test_a_state_without_weighting_is_as_before():
    toy = Toy()
    assert toy.state.weighting is None
    made = create_state({"params": toy.state.params}, toy.optimizer, 0)
    assert jax.tree.structure(made) == jax.tree.structure(toy.state)
