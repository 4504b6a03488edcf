"""Balance among modalities: closed forms, what is touched, and what cannot be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.train import weighting

NAMES = ("image", "text")
GRADIENT = {
    "encoders_image": {"kernel": jnp.array([1.0, 2.0])},
    "encoders_text": {"kernel": jnp.array([3.0, 4.0])},
    "fusion": {"kernel": jnp.array([5.0, 6.0])},
}


def flat(tree):
    return {name: np.asarray(of["kernel"]) for name, of in tree.items()}


def update(made, alone, state=None, gradient=GRADIENT):
    state = made.init(None) if state is None else state
    found, state = made.update(gradient, state, alone=jnp.asarray(alone))
    return flat(found), state


def test_ogm_slows_the_encoder_that_is_ahead():
    """Of scores 0.8 and 0.2 the ratio is 4."""
    made = weighting.ogm_ge(modalities=NAMES, alpha=0.3, noise=False)
    found, _ = update(made, -np.log([0.8, 0.2]))
    np.testing.assert_allclose(found["encoders_image"], (1 - np.tanh(1.2)) * np.array([1, 2]), 1e-5)
    np.testing.assert_array_equal(found["encoders_text"], [3, 4])
    np.testing.assert_array_equal(found["fusion"], [5, 6])


def test_ogm_compares_with_the_mean_of_all_others():
    names = ("image", "text", "sound")
    made = weighting.ogm_ge(modalities=names, alpha=1.0, noise=False)
    found, _ = update(made, -np.log([0.2, 0.6, 0.7]))
    ratio = 0.6 / ((0.2 + 0.7) / 2)
    np.testing.assert_allclose(
        found["encoders_text"], (1 - np.tanh(ratio)) * np.array([3, 4]), 1e-4
    )
    np.testing.assert_array_equal(found["encoders_image"], [1, 2])


def test_modalities_that_are_as_good_are_left_alone():
    made = weighting.ogm_ge(modalities=NAMES, noise=False)
    found, _ = update(made, [0.7, 0.7])
    np.testing.assert_array_equal(found["encoders_image"], [1, 2])


def test_noise_has_the_deviation_of_the_gradient_and_is_drawn_anew():
    rng = np.random.default_rng(0)
    wide = {"encoders_image": {"kernel": jnp.asarray(2 * rng.normal(size=20_000), jnp.float32)}}
    made = weighting.ogm_ge(modalities=NAMES)
    one, state = update(made, [0.5, 0.5], gradient=wide)
    two, _ = update(made, [0.5, 0.5], state, wide)
    noise = one["encoders_image"] - np.asarray(wide["encoders_image"]["kernel"])
    assert noise.mean() == pytest.approx(0, abs=4 * 2 / np.sqrt(20_000))
    assert noise.std() == pytest.approx(2, rel=0.03)
    assert not np.array_equal(one["encoders_image"], two["encoders_image"])


def test_agm_follows_how_far_a_lead_is_above_its_average():
    made = weighting.agm(modalities=NAMES, alpha=0.5)
    first, state = update(made, [1.0, 2.0])
    np.testing.assert_allclose(first["encoders_image"], [1, 2], rtol=1e-6)
    found, state = update(made, [0.5, 2.5], state)
    lead, usual = np.exp([2.0, -2.0]), np.exp([1.5, -1.5])
    factors = np.exp(-0.5 * (lead - usual))
    np.testing.assert_allclose(found["encoders_image"], factors[0] * np.array([1, 2]), rtol=1e-4)
    np.testing.assert_allclose(found["encoders_text"], factors[1] * np.array([3, 4]), rtol=1e-4)
    np.testing.assert_array_equal(found["fusion"], [5, 6])
    assert factors[0] < 1 < factors[1]
    np.testing.assert_allclose(state.means, [-0.75, -2.25], rtol=1e-6)


@pytest.mark.parametrize("make", [weighting.agm, weighting.ogm_ge])
def test_what_is_not_finite_stays_visible_and_spoils_no_state(make):
    made = make(modalities=NAMES)
    _, state = update(made, [1.0, 2.0])
    found, state = update(made, [jnp.nan, 1.0], state)
    assert not np.isfinite(found["encoders_text"]).any()
    again, _ = update(made, [1.0, 2.0], state)
    assert all(np.isfinite(x).all() for x in again.values())


@pytest.mark.parametrize("make", [weighting.agm, weighting.ogm_ge])
def test_losses_alone_are_asked_for_in_one_line(make):
    made = make(modalities=NAMES)
    for options in ({}, {"alone": jnp.ones(3)}):
        with pytest.raises(ValueError, match="needs alone, a loss of each of image, text"):
            made.update(GRADIENT, made.init(None), **options)


def pareto(image, other_image, gamma=1.5):
    """MMPareto of a task's gradient and those of image and text alone, on [2]."""
    rows = {
        "encoders_image": {"kernel": jnp.array([image, other_image, [0.0, 0.0]])},
        "encoders_text": {"kernel": jnp.array([[1.0, 1.0], [0.0, 0.0], [1.0, 3.0]])},
        "fusion": {"kernel": jnp.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])},
    }
    made = weighting.mmpareto(modalities=NAMES, gamma=gamma)
    return flat(made.update(rows, made.init(None))[0])


def test_mmpareto_adds_what_agrees():
    found = pareto([1.0, 0.0], [1.0, 1.0])
    np.testing.assert_allclose(found["encoders_image"], 1.5 * np.array([2.0, 1.0]), rtol=1e-6)
    np.testing.assert_allclose(found["encoders_text"], 1.5 * np.array([2.0, 4.0]), rtol=1e-6)
    np.testing.assert_allclose(found["fusion"], [4.0, 2.0], rtol=1e-6)


def test_mmpareto_takes_the_shortest_combination_of_what_conflicts_and_makes_it_no_shorter():
    g, u = np.array([1.0, 0.0]), np.array([-1.0, 2.0])
    found = pareto(g, u, gamma=1.0)["encoders_image"]
    # Twice (0.5, 0.5) is shorter than g + u = (0, 2).
    np.testing.assert_allclose(found, np.array([1.0, 1.0]) * 2 / np.sqrt(2), rtol=1e-5)
    assert min(found @ g, found @ u) > 0
    long = pareto([-0.1, 0.0], [1.0, 1.0], gamma=1.0)["encoders_image"]
    assert np.linalg.norm(long) == pytest.approx(np.linalg.norm([0.9, 1.0]), rel=1e-5)


def test_mmpareto_with_a_modality_that_is_absent_or_opposite_is_finite():
    absent = pareto([1.0, 2.0], [0.0, 0.0], gamma=1.0)
    np.testing.assert_allclose(absent["encoders_image"], [1.0, 2.0], rtol=1e-6)
    opposite = pareto([1.0, 2.0], [-1.0, -2.0])["encoders_image"]
    np.testing.assert_allclose(opposite, 0, atol=1e-5)
    bad = pareto([1.0, jnp.nan], [1.0, 2.0])["encoders_image"]
    assert not np.isfinite(bad).any()


def test_mmpareto_sums_several_tasks():
    made = weighting.mmpareto(modalities=("image",), gamma=1.0)
    rows = {"encoders_image": {"kernel": jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])}}
    found, _ = jax.jit(lambda x: made.update(x, made.init(None)))(rows)
    np.testing.assert_allclose(flat(found)["encoders_image"], [2.0, 2.0], rtol=1e-6)
    with pytest.raises(ValueError, match="gradients of a task and of 1 modalities"):
        made.update({"x": jnp.ones((1, 2))}, made.init(None))


def test_gradient_blending_prefers_what_gains_without_overfitting():
    before = jnp.array([2.0, 2.0, 2.0])
    train, val = jnp.array([1.0, 0.5, 1.5]), jnp.array([1.5, 1.5, 2.2])
    found = weighting.gradient_blending(before, train, before, val)
    raw = np.array([0.5 / 0.5**2, 0.5 / 1.0**2, 0.0])
    np.testing.assert_allclose(found, raw / raw.sum(), rtol=1e-5)
    same = weighting.gradient_blending(before, before, before, before)
    np.testing.assert_allclose(same, 1 / 3, rtol=1e-6)
