"""Resampling against scipy's; masked samples, gradients, sounds of no or one sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import resample_poly

from mmjax.errors import UserError
from mmjax.nn.audio.resample import resample

RATES = [
    (8000, 16_000),
    (48_000, 16_000),
    (44_100, 16_000),
    (16_000, 48_000),
    (3, 2),
    (22_050, 8000),
]
every_pair = pytest.mark.parametrize(("rate", "target"), RATES)


def sounds(rows, samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, (rows, samples)).astype(np.float32)


@every_pair
@pytest.mark.parametrize("samples", [1, 7, 1000])
def test_it_is_that_of_scipy(rate, target, samples):
    x = sounds(2, samples)
    y, mask = jax.jit(lambda x: resample(x, None, rate=rate, target=target))(x)
    expected = resample_poly(x.astype(np.float64), target, rate, axis=1)
    assert mask is None
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, atol=2e-6)


@every_pair
def test_a_sound_sounds_as_if_it_were_alone(rate, target):
    x, lengths = sounds(3, 600), (600, 250, 0)
    mask = np.arange(600) < np.array(lengths)[:, None]
    y, real = resample(jnp.asarray(x), jnp.asarray(mask), rate=rate, target=target)
    for row, length in enumerate(lengths):
        alone = resample_poly(x[row, :length], target, rate) if length else np.zeros(0)
        np.testing.assert_array_equal(real[row], np.arange(y.shape[1]) < len(alone))
        np.testing.assert_allclose(y[row, : len(alone)], alone, atol=2e-6)
        assert (y[row, len(alone) :] == 0).all()


@every_pair
def test_what_is_masked_changes_no_bit_and_has_no_gradient(rate, target):
    x = sounds(2, 300)
    mask = np.random.default_rng(1).random((2, 300)) < 0.6

    def result(x):
        return resample(jnp.asarray(x), jnp.asarray(mask), rate=rate, target=target)[0]

    changed = np.where(mask, x, 1e6).astype(np.float32)
    np.testing.assert_array_equal(result(x), result(changed))
    gradient = jax.grad(lambda x: (result(x) ** 2).sum())(jnp.asarray(x))
    assert (np.asarray(gradient)[~mask] == 0).all()
    assert (np.asarray(gradient)[mask] != 0).mean() > 0.9


def test_a_tone_stays_that_tone_and_one_too_high_for_the_target_goes():
    time = np.arange(4800) / 48_000
    low, high = (np.sin(2 * np.pi * f * time).astype(np.float32)[None] for f in (440, 15_000))
    kept, gone = (
        np.asarray(resample(jnp.asarray(x), None, rate=48_000, target=16_000)[0])[0, 100:-100]
        for x in (low, high)
    )
    expected = np.sin(2 * np.pi * 440 * np.arange(1600) / 16_000)[100:-100]
    np.testing.assert_allclose(kept, expected, atol=2e-3)
    assert abs(gone).max() < 2e-3


def test_the_same_rate_changes_nothing():
    x, mask = jnp.asarray(sounds(1, 5)), jnp.asarray([[True, False, True, True, True]])
    y, real = resample(x, mask, rate=8000, target=8000)
    assert y is x
    assert real is mask


@pytest.mark.parametrize(("rate", "target"), [(0, 16_000), (8000, -1)])
def test_rates_that_cannot_be_are_refused(rate, target):
    with pytest.raises(UserError, match=f"from {rate} to {target} Hz: choose whole numbers"):
        resample(jnp.zeros((1, 5)), None, rate=rate, target=target)


def test_rates_that_would_need_a_gigabyte_of_filters_are_refused():
    with pytest.raises(UserError, match="7999 samples come of 48000"):
        resample(jnp.zeros((1, 5)), None, rate=48_000, target=7999)
