"""Weightings by losses: closed forms, an oracle of FAMO, and a loop of plain optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax.train import weighting
from tests.train.toy import same

SCHEDULED = {"start": (1.0, 0.5, 0.0), "end": (0.0, 0.5, 2.0), "begin": 1, "steps": 2}
EACH = {
    "dwa": weighting.dwa(window=2),
    "famo": weighting.famo(same_batch=True),
    "famo_next": weighting.famo(),
    "fixed": weighting.fixed([1.0, 1.0, 1.0]),
    "gls": weighting.gls(),
    "imtl_l": weighting.imtl_l(),
    "random": weighting.random_weights(),
    "scheduled": weighting.scheduled(**SCHEDULED),
    "stch": weighting.stch(),
    "uncertainty": weighting.uncertainty(),
}
LOSSES = jnp.array([1.0, 0.5, 4.0])
ALL = pytest.mark.parametrize("name", EACH)


def run(how, losses):
    """The weights of each step, and the last state."""
    state, found = how.init(losses.shape[1]), []
    for row in losses:
        weights, state = how.update(row, state)
        if how.observe:
            state = how.observe(row, 0.9 * row, state)
        found.append(weights)
    return np.stack(found), state


@ALL
def test_weights_are_finite_and_no_loss_is_turned_round(name):
    how = EACH[name]
    absent = jnp.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [1.0, 3.0, 2.0]])
    found, state = run(how, jnp.concatenate([absent, absent[::-1]]))
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert all(np.isfinite(np.asarray(x)).all() for x in jax.tree.leaves(state))


@ALL
def test_a_state_keeps_its_form_and_gives_the_same_bit_for_bit(name):
    how = EACH[name]
    state = how.init(3)
    step = jax.jit(how.update)
    one, after = step(LOSSES, state)
    two, again = step(LOSSES, state)
    assert same((one, after), (two, again))
    assert jax.tree.structure(state) == jax.tree.structure(after)
    form = jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert form == jax.tree.map(lambda x: (x.shape, x.dtype), after)


@pytest.mark.parametrize("name", [n for n in EACH if n not in ("fixed", "random", "scheduled")])
def test_the_order_of_tasks_is_nothing(name):
    losses = jnp.stack([LOSSES, LOSSES * jnp.array([0.5, 0.9, 1.2]), LOSSES / 2, LOSSES / 3])
    order = jnp.array([2, 0, 1])
    found, _ = run(EACH[name], losses)
    other, _ = run(EACH[name], losses[:, order])
    np.testing.assert_allclose(other, found[:, order], rtol=1e-5)


@pytest.mark.parametrize("name", ["famo", "gls", "imtl_l", "stch", "uncertainty"])
def test_a_loss_that_is_not_finite_stays_visible(name):
    losses = LOSSES.at[1].set(jnp.nan)
    weights, _ = EACH[name].update(losses, EACH[name].init(3))
    assert not np.isfinite((weights * losses).sum())


def test_schedules_go_from_one_set_of_weights_to_another():
    found, _ = run(weighting.scheduled(**SCHEDULED), jnp.ones((5, 3)))
    expected = [[1, 0.5, 0], [1, 0.5, 0], [0.5, 0.5, 1], [0, 0.5, 2], [0, 0.5, 2]]
    np.testing.assert_allclose(found, expected)


def test_uncertainty_has_the_gradient_of_its_paper_and_comes_to_rest_at_half_of_one_by_the_loss():
    """d/ds of exp(-s) L / 2 + s / 2 is 0 at s = log L, where the weight is 1 / (2 L)."""
    how = weighting.uncertainty(learning_rate=0.05)
    found, state = run(how, jnp.tile(LOSSES, (1, 1)))
    np.testing.assert_allclose(found[0], 0.5)
    # The first step of Adam is of its learning rate, against the sign of (1 - L) / 2.
    np.testing.assert_allclose(state.parameter, [0.0, -0.05, 0.05], rtol=1e-5, atol=1e-7)
    step = jax.jit(how.update)
    for _ in range(400):
        weights, state = step(LOSSES, state)
    np.testing.assert_allclose(weights, 1 / (2 * LOSSES), rtol=1e-3)


def test_imtl_l_brings_all_weighted_losses_to_one():
    how = weighting.imtl_l(learning_rate=0.05)
    state, step = how.init(3), jax.jit(how.update)
    for _ in range(400):
        weights, state = step(LOSSES, state)
    np.testing.assert_allclose(weights * LOSSES, 1, rtol=1e-3)


@pytest.mark.parametrize("name", ["imtl_l", "uncertainty"])
def test_an_absent_task_keeps_its_learned_weight(name):
    how = EACH[name]
    state, first = how.init(3), None
    for _ in range(50):
        weights, state = how.update(jnp.array([1.5, 0.0, 0.7]), state)
        first = weights if first is None else first
    assert weights[1] == first[1]
    assert weights[0] != first[0]


def test_dwa_follows_the_ratio_of_the_last_two_windows():
    losses = jnp.array([[4.0, 2.0], [2.0, 2.0], [1.0, 2.0], [1.0, 3.0], [9.0, 9.0]])
    found, _ = run(weighting.dwa(temperature=2.0, window=2), losses)
    np.testing.assert_allclose(found[:4], 1.0)
    ratio = np.array([1.0 / 3.0, 2.5 / 2.0])
    expected = 2 * np.exp(ratio / 2) / np.exp(ratio / 2).sum()
    np.testing.assert_allclose(found[4], expected, rtol=1e-6)


def test_dwa_leaves_out_batches_without_a_task():
    losses = jnp.array([[4.0, 2.0], [2.0, 0.0], [1.0, 0.0], [1.0, 0.0], [9.0, 9.0]])
    found, _ = run(weighting.dwa(window=2), losses)
    ratio = np.array([1.0 / 3.0, 1.0])
    expected = 2 * np.exp(ratio / 2) / np.exp(ratio / 2).sum()
    np.testing.assert_allclose(found[4], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("how", "function"),
    [
        (weighting.gls(), lambda x: jnp.prod(x) ** (1 / 3)),
        (weighting.stch(smoothing=0.5), lambda x: 0.5 * jnp.log(jnp.exp(x / 3 / 0.5).sum())),
        (
            weighting.stch(smoothing=0.2, preferences=(1.0, 2.0, 0.5), ideal=(0.5, 0.0, 1.0)),
            lambda x: (
                0.2
                * jnp.log(
                    jnp.exp(
                        jnp.array([1.0, 2.0, 0.5]) * (x - jnp.array([0.5, 0.0, 1.0])) / 0.2
                    ).sum()
                )
            ),
        ),
        (
            weighting.famo(same_batch=True),
            lambda x: jnp.log(x + 1e-8).sum() / 3 / (1 / (3 * (LOSSES + 1e-8))).sum(),
        ),
    ],
)
def test_weights_are_the_gradient_of_the_function_that_is_minimised(how, function):
    weights, _ = how.update(LOSSES, how.init(3))
    np.testing.assert_allclose(weights, jax.grad(function)(LOSSES), rtol=1e-5)


def test_stch_with_little_smoothing_is_the_worst_loss_alone():
    weights, _ = weighting.stch(smoothing=1e-3).update(LOSSES, None)
    np.testing.assert_allclose(weights, [0, 0, 1 / 3], atol=1e-7)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "dirichlet", "one"])
def test_random_weights_sum_to_one_and_favour_none(distribution):
    how = weighting.random_weights(distribution=distribution)

    def step(key, _):
        weights, key = how.update(LOSSES, key)
        return key, weights

    _, drawn = jax.lax.scan(step, how.init(3), length=2000)
    np.testing.assert_allclose(drawn.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(drawn.mean(axis=0), 1 / 3, atol=0.05)
    assert (drawn.std(axis=0) > 0.02).all()


def famo_oracle(losses, after, rate=0.025, decay=1e-3):
    """The algorithm of the paper with the Adam of its code, in float64."""
    logits = first = second = np.zeros(losses.shape[1])
    found = []
    for number, (before, then) in enumerate(zip(losses, after, strict=True), 1):
        z = np.exp(logits) / np.exp(logits).sum()
        found.append(z / before / (z / before).sum())
        fall = np.log(before) - np.log(then)
        gradient = z * (fall - (z * fall).sum()) + decay * logits
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        move = first / (1 - 0.9**number) / (np.sqrt(second / (1 - 0.999**number)) + 1e-8)
        logits = logits - rate * move
    return np.stack(found)


def test_famo_is_its_oracle_with_the_same_batch_and_with_the_next():
    rng = np.random.default_rng(0)
    losses, after = np.exp(rng.normal(size=(2, 12, 3)))
    how = weighting.famo(same_batch=True)
    state, found = how.init(3), []
    for before, then in zip(losses, after, strict=True):
        weights, state = how.update(jnp.asarray(before, jnp.float32), state)
        state = how.observe(jnp.asarray(before, jnp.float32), jnp.asarray(then, jnp.float32), state)
        found.append(weights)
    np.testing.assert_allclose(found, famo_oracle(losses, after), rtol=1e-4)
    found, _ = run(weighting.famo(), jnp.asarray(losses, jnp.float32))
    expected = famo_oracle(losses, np.concatenate([losses[1:], losses[:1]]))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "how",
    [weighting.famo(same_batch=True), weighting.uncertainty(learning_rate=0.1)],
    ids=["famo", "uncertainty"],
)
def test_it_works_in_a_loop_of_plain_optax(how):
    """Two quadratics, one thirty times as steep, with minima apart: both are heard.

    Half-way the product of both is the least, as far as the constant is not small.
    """
    optimizer = optax.adam(0.02)
    goals, scales = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([30.0, 1.0])

    def losses_of(x):
        return scales * (((x - goals) ** 2).sum(axis=1) + 2.0)

    @jax.jit
    def step(x, state, weights_state):
        losses, pull_back = jax.vjp(losses_of, x)
        weights, weights_state = how.update(losses, weights_state)
        (gradient,) = pull_back(weights)
        updates, state = optimizer.update(gradient, state, x)
        after = optax.apply_updates(x, updates)
        if how.observe:
            weights_state = how.observe(losses, losses_of(after), weights_state)
        return after, state, weights_state

    x = jnp.zeros(2)
    state, weights_state = optimizer.init(x), how.init(2)
    for _ in range(1500):
        x, state, weights_state = step(x, state, weights_state)
    np.testing.assert_allclose(x, [0.5, 0.5], atol=0.12)


def test_a_scaled_weighting_is_the_weighting_of_scaled_losses():
    how = weighting.scaled(weighting.uncertainty(), [2.0, 1.0, 0.5])
    factors = jnp.array([2.0, 1.0, 0.5])
    inner, expected = weighting.uncertainty().update(
        factors * LOSSES, weighting.uncertainty().init(3)
    )
    found, state = how.update(LOSSES, how.init(3))
    np.testing.assert_allclose(found, factors * inner)
    assert same(state, expected)
    assert how.observe is None
    famo = weighting.scaled(weighting.famo(same_batch=True), [2.0, 1.0, 0.5])
    state = famo.observe(LOSSES, LOSSES / jnp.array([1.0, 2.0, 3.0]), famo.init(3))
    assert state.logits[0] > state.logits[2]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: weighting.scheduled(start=(1.0,), end=(1.0, 2.0)), "in both"),
        (lambda: weighting.scheduled(start=(1.0,), end=(1.0,), shape="step"), "linear"),
        (lambda: weighting.scheduled(start=(1.0,), end=(1.0,)).init(2), "2 tasks"),
        (lambda: weighting.random_weights(distribution="poisson"), "dirichlet"),
        (lambda: weighting.dwa(temperature=0.0), "above 0"),
        (lambda: weighting.stch(smoothing=0.0), "above 0"),
        (lambda: weighting.stch(ideal=(1.0,)).init(2), "2 tasks"),
    ],
)
def test_options_that_cannot_be_are_errors(make, words):
    with pytest.raises(ValueError, match=words):
        make()
