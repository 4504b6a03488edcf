"""Inputs from sounds against the feature extractors of transformers: distances up to 1e-4."""

import numpy as np
import pytest

from mmjax.interop.preprocess.sounds.processor import sound_processor

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def sound(seconds, rate, seed=0):
    """A swept tone in noise 25 dB below it."""
    random, time = np.random.default_rng(seed), np.arange(round(seconds * rate)) / rate
    tone = 0.5 * np.sin(2 * np.pi * (100 * time + 300 * time**2 / max(seconds, 1)))
    return (tone + 2e-2 * random.normal(size=len(time))).astype(np.float32)


def compare(theirs, sounds, atol, seed=0, **options):
    rate = theirs.sampling_rate
    ours = sound_processor(theirs.to_dict())(sounds, rate, seed=seed)
    np.random.seed(seed)
    expected = theirs(sounds, sampling_rate=rate, return_tensors="np", **options)
    assert set(ours) == set(expected)
    for key, value in expected.items():
        assert ours[key].shape == value.shape
        np.testing.assert_allclose(ours[key], value, atol=atol, rtol=0)
    return ours


@pytest.mark.parametrize("bins", [80, 128])
def test_whisper(bins):
    theirs = transformers.WhisperFeatureExtractor(feature_size=bins, return_attention_mask=True)
    sounds = [sound(seconds, 16_000, seed=i) for i, seconds in enumerate((1.234, 0.01, 31))]
    out = compare(theirs, sounds, 1e-4, return_attention_mask=True)
    assert out["input_features"].shape == (3, bins, 3000)


@pytest.mark.parametrize("options", [{}, {"do_normalize": False, "max_length": 100}, {"mean": 1.0}])
def test_ast(options, monkeypatch):
    module = transformers.models.audio_spectrogram_transformer
    module = module.feature_extraction_audio_spectrogram_transformer
    monkeypatch.setattr(module, "is_speech_available", lambda: False)  # the numpy path
    sounds = [sound(seconds, 16_000, seed=i) for i, seconds in enumerate((0.025, 2.3, 11))]
    compare(transformers.ASTFeatureExtractor(**options), sounds, 1e-4)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_wav2vec2(masked, normalised):
    theirs = transformers.Wav2Vec2FeatureExtractor(
        return_attention_mask=masked, do_normalize=normalised
    )
    sounds = [sound(seconds, 16_000, seed=i) for i, seconds in enumerate((0.5, 0.123, 0.9))]
    compare(theirs, sounds, 1e-6, padding=True)


@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
@pytest.mark.parametrize("truncation", ["fusion", "rand_trunc"])
@pytest.mark.parametrize("lengths", [(3.3, 10), (0.7, 10.004, 13, 34)])
def test_clap(truncation, padding, lengths):
    theirs = transformers.ClapFeatureExtractor(
        truncation=truncation, padding=padding, frequency_min=50
    )
    sounds = [sound(seconds, 48_000, seed=i) for i, seconds in enumerate(lengths)]
    compare(theirs, sounds, 1e-4, seed=3)
