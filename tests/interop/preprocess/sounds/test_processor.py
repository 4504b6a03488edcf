"""Sounds for pretrained models: closed forms, and every mistake in one line."""

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from mmjax.errors import UserError
from mmjax.interop.preprocess.sounds.processor import sound_processor
from mmjax.interop.preprocess.sounds.waveforms import band_filters
from mmjax.nn.audio.mel import mel_filters
from mmjax.nn.audio.spectrogram import log_mel

RATE = 16_000
WHISPER = {"feature_extractor_type": "WhisperFeatureExtractor", "chunk_length": 1}
AST = {"feature_extractor_type": "ASTFeatureExtractor", "max_length": 60}
WAVES = {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}
CLAP = {"feature_extractor_type": "ClapFeatureExtractor", "max_length_s": 1}


def noise(samples, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=samples).astype(np.float32)


def test_whisper_is_the_spectrogram_of_our_encoders():
    x = noise(RATE) * (np.arange(RATE) < 12_000)  # what is silent is 80 dB under the loudest
    expected, _ = log_mel(jnp.asarray(x[None]))
    (actual,) = sound_processor(WHISPER)([x], RATE)["input_features"]
    np.testing.assert_allclose(actual.T, expected[0], atol=1e-4)
    (longer,) = sound_processor(WHISPER)([np.concatenate([x, x])], RATE)["input_features"]
    np.testing.assert_array_equal(longer, actual)


def test_ast_is_the_spectrogram_of_our_encoders_and_then_zeros():
    x = noise(8000)
    expected, real = log_mel(jnp.asarray(x[None]), convention="kaldi", bins=128)
    assert real.sum() == 48
    out = sound_processor(AST)([x], RATE)["input_values"]
    np.testing.assert_allclose(out[0, :48], expected[0], atol=1e-4)
    np.testing.assert_allclose(out[0, 48:], 4.2677393 / (2 * 4.5689974), atol=1e-6)


def test_wav2vec2_normalises_what_is_real_only_with_a_mask():
    short, long = noise(300) + 0.3, noise(500, seed=1)
    out = sound_processor(WAVES | {"return_attention_mask": True})([short, long], RATE)
    np.testing.assert_array_equal(out["attention_mask"].sum(1), [300, 500])
    assert not out["input_values"][0, 300:].any()
    for row, count in zip(out["input_values"], (300, 500), strict=True):
        np.testing.assert_allclose([row[:count].mean(), row[:count].std()], [0, 1], atol=1e-4)
    out = sound_processor(WAVES)([short, long], RATE)
    assert set(out) == {"input_values"}
    np.testing.assert_allclose(out["input_values"].std(1), 1, atol=1e-4)
    out = sound_processor(WAVES | {"do_normalize": False})([short], RATE)
    np.testing.assert_array_equal(out["input_values"][0], short)


@pytest.mark.parametrize("truncation", ["fusion", "rand_trunc"])
def test_clap_draws_parts_of_longer_sounds_from_its_seed(truncation):
    process = sound_processor(CLAP | {"truncation": truncation})
    sounds = [noise(30_000), noise(150_000)]
    out = process(sounds, 48_000)
    channels = 4 if truncation == "fusion" else 1
    assert out["input_features"].shape == (2, channels, 101, 64)
    np.testing.assert_array_equal(out["is_longer"], [[False], [True]])
    again, other = process(sounds, 48_000), process(sounds, 48_000, seed=1)
    np.testing.assert_array_equal(out["input_features"], again["input_features"])
    np.testing.assert_array_equal(out["input_features"][0], other["input_features"][0])
    assert (out["input_features"][1] != other["input_features"][1]).any()


def test_clap_repeats_short_sounds():
    x = noise(20_000)
    one = sound_processor(CLAP | {"truncation": "rand_trunc"})
    out = one([x, np.concatenate([x, x])], 48_000)["input_features"]
    np.testing.assert_array_equal(out[0], out[1])
    out = sound_processor(CLAP | {"padding": "pad", "truncation": "rand_trunc"})([x], 48_000)
    assert (out["input_features"][0, 0, 60:] == -100).all()


def test_a_fused_constant_stays_constant():
    process = sound_processor(CLAP | {"truncation": "fusion"})
    (parts,) = process([np.zeros(200_000, np.float32)], 48_000)["input_features"]
    np.testing.assert_allclose(parts, -100, atol=1e-4)


@pytest.mark.parametrize("slaney", [False, True])
def test_band_filters_are_mel_filters_up_to_half_the_rate(slaney):
    expected = mel_filters(257, 40, RATE, scale="slaney" if slaney else "htk", area=slaney)
    actual = band_filters(257, 40, RATE, 0.0, RATE / 2, slaney=slaney)
    np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_files_are_resampled_and_mixed(rate, tmp_path):
    time = np.arange(rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "x.wav", np.stack([2 * tone, 0 * tone], 1) / 2, rate, "FLOAT")
    process = sound_processor(WAVES | {"do_normalize": False})
    (x,) = process([tmp_path / "x.wav"])["input_values"]
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert x.shape == (RATE,)
    np.testing.assert_allclose(x[100:-100], expected[100:-100], atol=1e-3)


def test_the_same_from_processor_config():
    nested = {"processor_class": "WhisperProcessor", "feature_extractor": WHISPER}
    x = noise(4000)
    expected = sound_processor(WHISPER)([x], RATE)["input_features"]
    np.testing.assert_array_equal(sound_processor(nested)([x], RATE)["input_features"], expected)


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({}, "no feature_extractor_type"),
        ({"feature_extractor_type": "EncodecFeatureExtractor"}, "ClapFeatureExtractor"),
        (WHISPER | {"pre": 1}, "unknown key 'pre'"),
        (WHISPER | {"sampling_rate": 8000}, "sampling_rate must be 16000"),
        (WHISPER | {"dither": 0.1}, "dither must be 0.0"),
        (WHISPER | {"hop_length": 0}, "positive whole"),
        (WHISPER | {"hop_length": 1.5}, "positive whole"),
        (WHISPER | {"n_fft": 401}, "must be even"),
        (AST | {"max_length": float("inf")}, "cannot be inf"),
        (WHISPER | {"padding_side": "left"}, "must be 'right'"),
        (WHISPER | {"return_attention_mask": 1}, "return_attention_mask"),
        (AST | {"std": 0}, "std must be positive"),
        (AST | {"mean": "x"}, "mean must be a number"),
        (CLAP | {"truncation": "cut"}, "fusion, rand_trunc"),
        (CLAP | {"frequency_min": 15_000}, "over frequency_min"),
    ],
)
def test_configurations_that_are_not_understood(config, part):
    with pytest.raises(UserError, match=part) as caught:
        sound_processor(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sounds", "rate", "part"),
    [
        ([], RATE, "empty"),
        ("x.wav", RATE, "list of sounds"),
        (noise(500), RATE, "list of sounds"),
        (["missing.wav"], RATE, "no such file"),
        ([3], RATE, "not int"),
        ([noise(500)], None, "without sampling_rate"),
        ([noise(500)], 44_100, "at 44100 Hz"),
        ([noise(500)[None]], RATE, "shape \\[1, 500\\]"),
        ([np.zeros(500, np.int16)], RATE, "int16"),
        ([noise(0)], RATE, "no samples"),
        ([noise(500) * np.nan], RATE, "NaN"),
        ([noise(399)], RATE, "shorter than one window"),
    ],
)
def test_what_is_not_a_sound(sounds, rate, part, tmp_path):
    with pytest.raises(UserError, match=part) as caught:
        sound_processor(AST)(sounds, rate)
    assert "\n" not in str(caught.value)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(UserError, match="cannot be read"):
        sound_processor(AST)([tmp_path / "text.wav"])
