"""The directions of gradient aggregators: closed forms, numpy oracles and what papers promise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import nnls

from mmjax.train import weighting
from mmjax.train.weighting.gradients import bargaining, cones, minimum_norm, projections
from tests.train.weighting.gradients import (
    AGGREGATORS,
    aggregate,
    conflicting_rows,
    random_rows,
    rows_of,
    tree_of,
)

A, B = np.array([1.0, 0.0]), np.array([-1.0, 2.0])  # a conflict: <A, B> = -1
MANY = 25


def rows_of_many():
    return [random_rows(seed) for seed in range(MANY)] + [conflicting_rows()]


def of_two(made, a=A, b=B, **options):
    """The aggregate of two gradients, padded with zeros, as an array of two."""
    rows = np.zeros((2, 12))
    rows[0, :2], rows[1, :2] = a, b
    gradients = tree_of(rows)
    state = made.init(jax.tree.map(lambda x: x[0], gradients))
    found, _ = made.update(gradients, state, **options)
    return rows_of(found)[:2]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (weighting.mean_of_tasks(), (A + B) / 2),
        (weighting.sum_of_tasks(), A + B),
        # A - <A, B> / <B, B> B and B - <A, B> / <A, A> A.
        (weighting.pcgrad(), A + B / 5 + B + A),
        # With expected cosines of 0 it is the same.
        (weighting.gradvac(tasks=2), A + B / 5 + B + A),
        # The foot of 0 on the line from A to B: (1, 0) + t (-2, 2), t = 1 / 4.
        (weighting.mgda(), np.array([0.5, 0.5])),
        # Each half, projected on the half space of the other.
        (weighting.upgrad(regularization=0.0), (A + B / 5 + B + A) / 2),
        # Their mean, (0, 1), conflicts with none.
        (weighting.dual_projection(), (A + B) / 2),
        # All parallels, as unit vectors; the common norm is what makes weights sum to 1.
        (weighting.imtl_g(), np.array([1.0, (np.sqrt(5) + 1) / 2]) * 2 / (3 + np.sqrt(5))),
        (weighting.db_mtl(tasks=2, decay=0.0, logarithm=False), np.sqrt(5) * A + B),
    ],
)
def test_two_gradients_in_a_conflict_have_a_closed_form(made, expected):
    np.testing.assert_allclose(of_two(made), expected, rtol=1e-5, atol=1e-6)


def test_weights_of_two_bargainers_have_a_closed_form():
    """w_i = 1 / (||g_i|| sqrt(1 + cos)): each gains 1 / w_i."""
    cosine = A @ B / np.sqrt(5)
    expected = (A + B / np.sqrt(5)) / np.sqrt(1 + cosine)
    np.testing.assert_allclose(of_two(weighting.fairgrad()), expected, rtol=1e-5, atol=1e-6)
    free = of_two(weighting.nash_mtl(max_norm=0.0))
    np.testing.assert_allclose(free, expected, rtol=1e-5, atol=1e-6)
    assert np.linalg.norm(free) == pytest.approx(np.sqrt(2), rel=1e-5)
    limited = of_two(weighting.nash_mtl(max_norm=0.5))
    np.testing.assert_allclose(limited, 0.5 * free / np.linalg.norm(free), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 5.0])
def test_fair_weights_solve_their_equation(alpha):
    solve = jax.jit(lambda g: bargaining.fair_weights(g, 1 / alpha))
    for rows in rows_of_many():
        products = rows @ rows.T
        w = np.asarray(solve(jnp.asarray(products)), np.float64)
        assert (w > 0).all()
        gains = products.astype(np.float64) @ w
        np.testing.assert_allclose(gains * w ** (1 / alpha), 1, rtol=2e-4)


def test_fair_weights_with_a_large_alpha_give_equal_gains():
    rows = random_rows(1)
    products = jnp.asarray(rows @ rows.T)
    gains = products @ bargaining.fair_weights(products, 1e-3)
    np.testing.assert_allclose(gains, gains[0], rtol=1e-2)


def test_the_least_norm_is_that_of_an_active_set_method():
    """min ||sum_i x_i g_i||^2 + (1 - sum_i x_i)^2 over x >= 0 has the same direction."""
    solve = jax.jit(minimum_norm.mgda_weights)
    for rows in rows_of_many():
        wide = rows.astype(np.float64) / np.sqrt((rows**2).sum())
        x, _ = nnls(np.concatenate([wide.T, np.ones((1, 3))]), np.r_[np.zeros(12), 1.0])
        found = solve(jnp.asarray(rows @ rows.T))
        np.testing.assert_allclose(found, x / x.sum(), atol=2e-6)


def test_projections_onto_the_dual_cone_are_those_of_an_active_set_method():
    """v = u + x, where x >= 0 minimises ||J'(u + x)||^2."""
    solve = jax.jit(lambda g: cones.upgrad_weights(g, 0.0))
    for rows in rows_of_many()[:-1]:
        wide, expected = rows.astype(np.float64).T, np.zeros(3)
        for share in np.eye(3) / 3:
            x, _ = nnls(wide, -wide @ share)
            expected += share + x
        found = solve(jnp.asarray(rows @ rows.T))
        np.testing.assert_allclose(rows.T @ found, wide @ expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["upgrad", "dual_projection", "mgda", "nash_mtl", "fairgrad"])
def test_no_task_loses(name):
    for rows in rows_of_many():
        found, _ = aggregate(name, rows)
        gains = rows @ found / np.linalg.norm(rows, axis=1) / max(np.linalg.norm(found), 1e-6)
        assert gains.min() > -2e-3


@pytest.mark.parametrize("name", ["upgrad", "dual_projection", "mean"])
def test_without_a_conflict_it_is_the_mean(name):
    rows = np.abs(random_rows())
    found, _ = aggregate(name, rows)
    np.testing.assert_allclose(found, rows.mean(axis=0), rtol=1e-5)


def test_pcgrad_without_a_conflict_is_the_sum():
    rows = np.abs(random_rows())
    np.testing.assert_allclose(aggregate("pcgrad", rows)[0], rows.sum(axis=0), rtol=1e-5)


def test_pcgrad_is_the_algorithm_on_whole_gradients():
    rows = conflicting_rows()
    for order in itertools.islice(itertools.permutations(range(3)), 3):
        expected = np.zeros(12)
        for own in rows:
            part = own.astype(np.float64)
            for other in rows[list(order)]:
                if other is not own and part @ other < 0 and not np.array_equal(own, other):
                    part = part - part @ other / (other @ other) * other
            expected += part
        orders = jnp.asarray([order] * 3)
        found = projections.pcgrad_weights(jnp.asarray(rows @ rows.T), orders)
        np.testing.assert_allclose(found @ rows, expected, rtol=1e-4, atol=1e-5)


def test_gradvac_turns_a_gradient_to_the_expected_cosine():
    """g_i + w g_j has the expected cosine with g_j, and the average then moves to what it was."""
    products = jnp.array([[A @ A, A @ B], [A @ B, B @ B]])
    orders = jnp.array([[0, 1], [1, 0]])
    expected = jnp.full((2, 2), 0.5)
    weights, after = projections.gradvac_weights(products, expected, orders, 0.1)
    share = jnp.array([0.5, 0.0])  # only the second is turned to the first
    one, _ = projections.gradvac_weights(products, jnp.array([[-1.0, -1.0], share]), orders, 0.1)
    turned = one[0] * A + one[1] * B - A
    cosine = turned @ A / np.linalg.norm(turned)
    assert cosine == pytest.approx(0.5, abs=1e-6)
    np.testing.assert_allclose(after[0, 1], 0.9 * 0.5 + 0.1 * A @ B / np.sqrt(5), rtol=1e-6)
    assert np.isfinite(weights).all()


def test_cagrad_is_the_best_within_its_ball():
    """Of many directions in the ball none is better for the worst-off task."""
    rng = np.random.default_rng(0)
    for rows in rows_of_many()[:6]:
        found, _ = aggregate("cagrad", rows)
        mean = rows.mean(axis=0)
        radius = 0.4 * np.linalg.norm(mean)
        assert np.linalg.norm(found - mean) == pytest.approx(radius, rel=1e-4)
        others = rng.normal(size=(4000, 12)) @ (np.eye(12) * 0.05)
        others = found - mean + radius * np.concatenate([others, others @ rows.T @ rows / 50])
        others *= radius / np.linalg.norm(others, axis=1, keepdims=True)
        worst = ((mean + others) @ rows.T).min(axis=1).max()
        assert worst <= (rows @ found).min() + 1e-4 * np.abs(rows @ found).max()


def test_cagrad_with_no_radius_is_the_mean():
    rows = tree_of(random_rows())
    found, _ = weighting.cagrad(c=0.0).update(rows, None)
    np.testing.assert_allclose(rows_of(found), random_rows().mean(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
def test_aligned_mtl_is_a_mean_of_orthogonal_gradients(scale):
    rows = random_rows(2)
    u, s, vt = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    size = {"min": s.min(), "median": np.median(s), "rmse": np.sqrt((s**2).mean())}[scale]
    found, _ = weighting.aligned_mtl(scale=scale).update(tree_of(rows), None)
    np.testing.assert_allclose(rows_of(found), size * (u @ vt).mean(axis=0), rtol=1e-4, atol=1e-5)


def test_imtl_g_projects_alike_onto_all():
    for rows in rows_of_many():
        found, _ = aggregate("imtl_g", rows)
        along = rows @ found / np.linalg.norm(rows, axis=1)
        np.testing.assert_allclose(along, along.mean(), rtol=1e-3)


@pytest.mark.parametrize("name", ["imtl_g", "nash_mtl", "db_mtl"])
def test_the_direction_does_not_depend_on_the_scale_of_a_gradient(name):
    rows = random_rows(4)
    found, _ = aggregate(name, rows)
    other, _ = aggregate(name, rows * np.array([[1e-2], [30.0], [1.0]], np.float32))
    unit, other = found / np.linalg.norm(found), other / np.linalg.norm(other)
    np.testing.assert_allclose(other, unit, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in AGGREGATORS if n not in ("fairgrad", "nash_mtl")])
def test_a_common_factor_of_all_gradients_is_one_of_the_update(name):
    rows = conflicting_rows()
    found, _ = aggregate(name, rows)
    other, _ = aggregate(name, 8 * rows)
    np.testing.assert_allclose(other, 8 * found, rtol=1e-3, atol=1e-4)


def test_upgrad_grows_linearly_with_each_gradient():
    rows, solve = random_rows(7), jax.jit(lambda g: cones.upgrad_weights(g, 0.0))
    factors = np.array([1.0, 3.0, 0.5], np.float32)

    def at(c):
        scaled = rows * c[:, None]
        return np.asarray(solve(jnp.asarray(scaled @ scaled.T))) @ scaled

    both = at(2 * np.ones(3, np.float32) + factors)
    np.testing.assert_allclose(
        both, at(2 * np.ones(3, np.float32)) + at(factors), rtol=1e-4, atol=1e-5
    )


def test_graddrop_draws_a_sign_in_proportion():
    """Of 3 and -1 the positive one is drawn three times in four."""
    wide = {"x": jnp.tile(jnp.array([[3.0], [-1.0]]), (1, 20_000))}
    made = weighting.graddrop(seed=1)
    found, _ = made.update(wide, made.init(None))
    values = np.asarray(found["x"])
    assert set(np.unique(values)) == {3.0, -1.0}
    assert (values == 3).mean() == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 20_000))
    leaky, _ = weighting.graddrop(leak=1.0).update(wide, made.init(None))
    np.testing.assert_allclose(leaky["x"], 2.0)


def test_mgda_by_features_takes_their_inner_products():
    """MGDA-UB: the weights of gradients of features, on gradients of parameters."""
    rows, features = random_rows(8), random_rows(9)
    made = weighting.mgda()
    found, _ = made.update(tree_of(rows), None, features=tree_of(features))
    weights = minimum_norm.mgda_weights(jnp.asarray(features @ features.T))
    np.testing.assert_allclose(rows_of(found), weights @ rows, rtol=1e-4, atol=1e-5)


def test_gradnorm_makes_gradients_equally_long_with_an_alpha_of_zero():
    made = weighting.gradnorm(tasks=2, alpha=0.0, learning_rate=0.02)
    rows = np.zeros((2, 12))
    rows[0, 0], rows[1, 1] = 1.0, 4.0
    gradients, losses = tree_of(rows), jnp.ones(2)
    state = made.init(None)
    update = jax.jit(lambda s: made.update(gradients, s, losses=losses))
    first, state = update(state)
    np.testing.assert_allclose(rows_of(first)[:2], [1.0, 4.0])
    for _ in range(200):
        found, state = update(state)
    np.testing.assert_allclose(rows_of(found)[:2], [1.6, 1.6], rtol=0.1)


def test_gradnorm_gives_a_slow_task_more():
    made = weighting.gradnorm(tasks=2, alpha=1.0, learning_rate=0.02)
    gradients = tree_of(np.eye(2, 12))
    update = jax.jit(lambda s, losses: made.update(gradients, s, losses=losses))
    _, state = update(made.init(None), jnp.array([4.0, 4.0]))
    for _ in range(20):
        found, state = update(state, jnp.array([1.0, 3.0]))
    assert rows_of(found)[1] > rows_of(found)[0] + 0.2


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_db_mtl_averages_over_steps(power):
    made = weighting.db_mtl(tasks=2, decay=0.75, decay_power=power, logarithm=True)
    rows, losses = np.zeros((2, 12)), jnp.array([0.5, 2.0])
    rows[0, 0], rows[1, 1] = 1.0, 4.0
    state = made.init(jax.tree.map(lambda x: x[0], tree_of(rows)))
    # Of log-losses both have a norm of 2; a quarter of it after one step.
    found, state = made.update(tree_of(rows), state, losses=losses)
    np.testing.assert_allclose(rows_of(found)[:2], [0.5, 0.5], rtol=1e-5)
    found, state = made.update(tree_of(0 * rows), state, losses=losses)
    kept = 0.75 / 2**power
    np.testing.assert_allclose(rows_of(found)[:2], [0.5 * kept, 0.5 * kept], rtol=1e-5)
