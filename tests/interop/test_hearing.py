"""Waveforms in the graph against the same models' own feature extractors on the host."""

import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.interop import hearing
from mmjax.interop.preprocess.sounds import sound_processor
from mmjax.types import UserError

RATE = hearing.RATE
SOUND = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)  # a second
MASK = np.arange(2 * RATE) < RATE


def padded(rest, seconds=2):
    """The sound, and behind it what is not to be heard."""
    rows = np.full((1, seconds * RATE), rest, np.float32)
    rows[0, :RATE] = SOUND
    return jnp.asarray(rows)


def test_whisper_hears_what_its_extractor_does():
    config = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80}
    expected = sound_processor(config)([SOUND], sampling_rate=RATE)["input_features"]
    mask = jnp.asarray(np.arange(30 * RATE) < RATE)[None]
    inputs, real = hearing.whisper(padded(0.5, seconds=30), mask, bins=80)
    np.testing.assert_allclose(inputs["input_features"], expected, atol=1e-4)
    assert real.shape == (1, 1500)
    assert abs(int(real.sum()) - 50) <= 1  # 50 tokens a second


def test_ast_hears_what_its_extractor_does():
    config = {"feature_extractor_type": "ASTFeatureExtractor", "mean": -4.0, "std": 5.0}
    expected = sound_processor(config)([SOUND], sampling_rate=RATE)["input_values"]
    mask = jnp.asarray(MASK)[None]
    inputs, real = hearing.ast(padded(0.5), mask, bins=128, frames=1024, mean=-4.0, std=5.0)
    # A frame at the end of the sound is partly real: only there the two may differ.
    whole = 1 + (RATE - 400) // 160
    np.testing.assert_allclose(inputs["input_values"][:, :whole], expected[:, :whole], atol=1e-3)
    np.testing.assert_allclose(inputs["input_values"][:, 110:], expected[:, 110:], atol=1e-5)
    assert real.tolist() == [True]


@pytest.mark.parametrize(
    "hear",
    [
        lambda value, mask: hearing.whisper(value, mask, bins=80),
        lambda value, mask: hearing.ast(value, mask, bins=128, frames=300),
    ],
)
def test_what_is_masked_is_not_heard(hear):
    mask = jnp.asarray(MASK)[None]
    quiet, loud = (hear(padded(rest), mask) for rest in (0.0, 0.9))
    for name, x in quiet[0].items():
        np.testing.assert_array_equal(x, loud[0][name])
    nothing, real = hear(padded(0.9), jnp.zeros((1, 2 * RATE), bool))
    assert not real.any()
    assert all(np.isfinite(x).all() for x in nothing.values())
    with pytest.raises(UserError, match="expected a float32 waveform"):
        hear(padded(0.0).astype(jnp.bfloat16), mask)
