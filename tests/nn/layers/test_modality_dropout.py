import jax
import jax.numpy as jnp
import numpy as np

from mmjax.nn.layers.modality_dropout import kept_modalities

KEYS = jax.random.split(jax.random.PRNGKey(0), 4000)
PRESENT = jnp.array([[True, True, False], [True, False, False], [True, True, False]])


def kept_of(rate):
    return np.asarray(jax.vmap(lambda key: kept_modalities(key, PRESENT, rate=rate))(KEYS))


def test_what_is_not_there_never_comes_and_one_always_stays():
    kept = kept_of(0.9)
    assert not kept[:, ~np.asarray(PRESENT)].any()
    assert kept[:, :, :2].any(axis=1).all()
    assert not kept[:, :, 2].any()


def test_a_modality_goes_with_the_rate_but_for_the_last():
    """Of three, each at rate r stays with 1 - r, and with a third of r^3 as the last."""
    for rate in (0.3, 0.7):
        expected = 1 - rate + rate**3 / 3
        np.testing.assert_allclose(kept_of(rate)[:, :, 0].mean(axis=0), expected, atol=0.035)


def test_nothing_goes_at_a_rate_of_zero():
    assert (kept_of(0.0) == np.asarray(PRESENT)).all()
