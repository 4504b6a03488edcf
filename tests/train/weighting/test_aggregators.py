"""What all gradient aggregators have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax.train import sharding, weighting
from tests.train.toy import same
from tests.train.weighting.gradients import (
    AGGREGATORS,
    LOSSES,
    TASKS,
    WITH_LOSSES,
    aggregate,
    conflicting_rows,
    jitted,
    random_rows,
    rows_of,
    tree_of,
)

EACH = pytest.mark.parametrize("name", AGGREGATORS)
# Their weights hang on draws for each task, or on an order of tasks.
IN_ORDER = ("gradvac", "pcgrad", "random_gradients")


@EACH
def test_it_begins_the_chain_of_any_optimizer(name):
    optimizer = optax.chain(AGGREGATORS[name], optax.adamw(1e-3))
    gradients = tree_of(random_rows())
    params = jax.tree.map(lambda x: jnp.ones(x.shape[1:]), gradients)
    losses = {"losses": LOSSES} if name in WITH_LOSSES else {}

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(gradients, state, params, **losses)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    after, new = step(params, state)
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, params)
    moved = jax.tree.leaves(jax.tree.map(lambda a, b: jnp.abs(a - b).max(), after, params))
    assert all(0 < m < 0.01 for m in moved)


@EACH
def test_gradients_of_zero_give_zero(name):
    found, _ = aggregate(name, np.zeros((TASKS, 12)))
    np.testing.assert_array_equal(found, 0)


@EACH
def test_opposite_gradients_and_equal_ones_give_finite_values(name):
    row = random_rows()[0]
    for rows in ([row, -row, 0 * row], [row, row, row], [row, -row, row], [row, -2 * row, row]):
        found, _ = aggregate(name, np.stack(rows))
        assert np.isfinite(found).all(), rows
        assert np.linalg.norm(found) < 100 * np.linalg.norm(row)


@EACH
def test_a_single_task_gets_its_own_direction(name):
    if name in ("gradnorm", "db_mtl", "gradvac"):
        made = getattr(weighting, name)(tasks=1)
    else:
        made = AGGREGATORS[name]
    row = tree_of(random_rows(tasks=1))
    losses = {"losses": jnp.ones(1)} if name in WITH_LOSSES else {}
    found, _ = made.update(row, made.init(jax.tree.map(lambda x: x[0], row)), **losses)
    found, row = rows_of(found), rows_of(row)[0]
    cosine = found @ row / np.linalg.norm(found) / np.linalg.norm(row)
    assert cosine == pytest.approx(1, abs=1e-6)
    if name not in ("fairgrad", "nash_mtl", "db_mtl", "cagrad"):  # whose length is another
        np.testing.assert_allclose(found, row, rtol=1e-5)


@EACH
def test_a_task_that_is_absent_does_not_stop_the_others(name):
    rows = random_rows()
    rows[1], rows[2] = 0, rows[0] + 0.3 * rows[2]
    found, _ = aggregate(name, rows, losses=LOSSES.at[1].set(0.0))
    assert np.isfinite(found).all()
    assert rows[0] @ found > 0
    assert rows[2] @ found > 0


LEFT_OUT = ("db_mtl", "fairgrad", "graddrop", "gradvac", "imtl_g", "mgda", "nash_mtl", "pcgrad")


@pytest.mark.parametrize("name", LEFT_OUT)
def test_an_absent_task_is_as_if_it_were_not_there(name):
    rows = random_rows(5)
    rows[1] = 0
    made = AGGREGATORS[name]
    if name in ("db_mtl", "gradvac"):
        options = {"decay": 0.0} if name == "db_mtl" else {}
        made = getattr(weighting, name)(tasks=2, **options)
    losses = {"losses": LOSSES[jnp.array([0, 2])]} if name == "db_mtl" else {}
    two = tree_of(rows[[0, 2]])
    alone, _ = made.update(two, made.init(jax.tree.map(lambda x: x[0], two)), **losses)
    found, _ = aggregate(name, rows, losses=LOSSES.at[1].set(0.0))
    np.testing.assert_allclose(found, rows_of(alone), rtol=2e-5, atol=1e-6)


@EACH
def test_what_is_not_finite_stays_visible_and_spoils_no_state(name):
    rows = random_rows()
    for bad in (np.nan, np.inf):
        rows[1, 5] = bad
        _, state = aggregate(name, random_rows(1))
        found, after = aggregate(name, rows, state)
        assert not np.isfinite(found[5])
        leaves = jax.tree.leaves(after)
        assert all(np.isfinite(np.asarray(x)).all() for x in leaves)
        again, _ = aggregate(name, random_rows(2), after)
        assert np.isfinite(again).all()


@pytest.mark.parametrize("name", [n for n in AGGREGATORS if n not in IN_ORDER])
def test_the_order_of_tasks_is_nothing(name):
    order = np.array([2, 0, 1])
    for rows in (random_rows(), conflicting_rows()):
        found, _ = aggregate(name, rows)
        other, _ = aggregate(name, rows[order], losses=LOSSES[order])
        np.testing.assert_allclose(other, found, rtol=2e-5, atol=2e-5 * np.abs(found).max())


@EACH
def test_arrays_divided_over_devices_give_the_same(name):
    kernel = np.random.default_rng(0).normal(size=(TASKS, 128, 256)).astype(np.float32)
    kernel[0] -= 0.7 * kernel[1]
    wide = {"bias": jnp.asarray(kernel[:, :4, 0]), "kernel": jnp.asarray(kernel)}
    state = AGGREGATORS[name].init(jax.tree.map(lambda x: x[0], wide))
    expected, _ = jitted(name)(wide, state, LOSSES)
    mesh = sharding.make_mesh(data=1, fsdp=4, tensor=2, rows=(4,))
    put = jax.tree.map(jax.device_put, wide, sharding.state_sharding(wide, mesh))
    assert {s.data.shape for s in put["kernel"].addressable_shards} == {(TASKS, 32, 128)}
    everywhere = jax.device_put(state, sharding.replicated(mesh))
    found, _ = jitted(name)(put, everywhere, jax.device_put(LOSSES, sharding.replicated(mesh)))
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(expected))
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=2e-5 * scale)
    shards = {s.data.shape for s in found["kernel"].addressable_shards}
    assert shards == {(32, 128)} or name == "graddrop"


@EACH
def test_the_same_state_gives_the_same_bit_for_bit(name):
    _, state = aggregate(name, random_rows(1))
    one, two = aggregate(name, random_rows(2), state), aggregate(name, random_rows(2), state)
    assert same(one, two)


@pytest.mark.parametrize("name", ["graddrop", "pcgrad", "random_gradients"])
def test_what_is_random_draws_anew_and_by_its_seed(name):
    rows = conflicting_rows()
    first, state = aggregate(name, rows)
    assert not same(state, AGGREGATORS[name].init(None))
    drawn = [first]
    for _ in range(8):
        found, state = aggregate(name, rows, state)
        drawn.append(found)
    assert len({d.tobytes() for d in drawn}) > 1
    made = getattr(weighting, name)
    gradients = tree_of(rows)
    zero, _ = made(seed=0).update(gradients, made(seed=0).init(None))
    np.testing.assert_allclose(rows_of(zero), first, rtol=1e-5, atol=1e-6)


def test_bfloat16_stays_and_is_summed_up_in_float32():
    rows = tree_of(random_rows())
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), rows)
    made = weighting.mgda()
    found, _ = made.update(half, made.init(None))
    found_rows = np.asarray(rows_of(found), np.float32)
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype(jnp.bfloat16)}
    exact, _ = made.update(jax.tree.map(lambda x: x.astype(jnp.float32), half), made.init(None))
    np.testing.assert_allclose(found_rows, rows_of(exact), rtol=2**-7, atol=2**-7)


def test_losses_are_asked_for_in_one_line():
    for name in WITH_LOSSES:
        gradients = tree_of(random_rows())
        state = AGGREGATORS[name].init(None)
        with pytest.raises(ValueError, match="needs losses: optimizer.update"):
            AGGREGATORS[name].update(gradients, state)


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (weighting.aligned_mtl, {"scale": "max"}, "min, median, rmse"),
        (weighting.cagrad, {"c": -1.0}, "0 or more"),
        (weighting.fairgrad, {"alpha": 0.0}, "above 0"),
        (weighting.graddrop, {"leak": 2.0}, "from 0 to 1"),
    ],
)
def test_options_that_cannot_be_are_errors(make, options, words):
    with pytest.raises(ValueError, match=words):
        make(**options)
