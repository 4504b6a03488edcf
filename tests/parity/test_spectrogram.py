"""Spectrograms against PyTorch and the numpy paths of transformers; distances up to 1e-4."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers import audio_utils  # noqa: E402

from mmjax.nn.audio.mel import mel_filters  # noqa: E402
from mmjax.nn.audio.spectrogram import frames, log_mel, power_spectrum  # noqa: E402


def sounds(samples):
    """Noise, a swept tone with noise 25 dB below it, and a decaying one.

    Of a tone without noise the weakest bins, 100 dB below it, differ by up to 1e-3: float32.
    """
    random, time = np.random.default_rng(0), np.arange(samples) / 16_000
    sweep = 0.5 * np.sin(2 * np.pi * (100 * time + 3000 * time**2))
    noise = random.normal(size=(3, samples))
    x = [0.1 * noise[0], sweep + 2e-2 * noise[1], sweep * np.exp(-20 * time) + 1e-2 * noise[2]]
    return np.stack(x).astype(np.float32)


@pytest.mark.parametrize("samples", [4000, 5037])
def test_whisper_spectrogram(samples):
    x = sounds(samples)
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    expected = np.swapaxes(extractor._np_extract_fbank_features(x, "cpu"), 1, 2)
    actual, real = jax.jit(log_mel)(jnp.asarray(x))
    assert actual.shape == expected.shape
    assert real.all()
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_whisper_spectrogram_of_zero_padded_audio():
    """With a mask the real frames are the same."""
    x = sounds(8000) * (np.arange(8000) < 4000)
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    expected = np.swapaxes(extractor._np_extract_fbank_features(x, "cpu"), 1, 2)
    run = jax.jit(log_mel)
    np.testing.assert_allclose(run(jnp.asarray(x))[0], expected, atol=1e-4)
    masked, real = run(jnp.asarray(x), jnp.broadcast_to(jnp.arange(8000) < 4000, x.shape))
    np.testing.assert_array_equal(real, jnp.broadcast_to(jnp.arange(50) < 25, real.shape))
    np.testing.assert_allclose(masked[:, :25], expected[:, :25], atol=1e-4)


@pytest.mark.parametrize("samples", [4000, 5037])
def test_kaldi_spectrogram_as_ast_takes_it(samples, monkeypatch):
    x = sounds(samples)
    module = transformers.models.audio_spectrogram_transformer
    module = module.feature_extraction_audio_spectrogram_transformer
    monkeypatch.setattr(module, "is_speech_available", lambda: False)  # the numpy path
    count = 1 + (samples - 400) // 160
    extractor = transformers.ASTFeatureExtractor(max_length=count)
    expected = extractor(list(x), sampling_rate=16_000, return_tensors="np")["input_values"]
    run = jax.jit(lambda x: log_mel(x, convention="kaldi", bins=128))
    np.testing.assert_allclose(run(jnp.asarray(x))[0], expected, atol=1e-4)


def test_plain_spectrogram_and_torch_stft():
    x = sounds(5037)
    window = torch.hann_window(400)
    padded = torch.nn.functional.pad(window, (0, 112))
    stft = torch.stft(torch.from_numpy(x), 512, 160, 512, padded, center=False, return_complex=True)
    power = (stft.abs() ** 2).transpose(1, 2).numpy()
    cut = frames(jnp.asarray(x), 400, 160) * window.numpy()
    ours = np.asarray(power_spectrum(cut, 512))[:, : power.shape[1]]
    np.testing.assert_allclose(ours, power, rtol=1e-4, atol=1e-4)
    bank = audio_utils.mel_filter_bank(257, 64, 0.0, 8000.0, 16_000)
    expected = np.log(power @ bank + 1e-6)
    actual = jax.jit(lambda x: log_mel(x, convention="plain", bins=64)[0])(jnp.asarray(x))
    np.testing.assert_allclose(actual[:, : power.shape[1]], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"scale": "slaney", "area": True}, {"norm": "slaney", "mel_scale": "slaney"}),
        ({"scale": "htk", "lowest": 50.0}, {"mel_scale": "htk"}),
        (
            {"lowest": 20.0, "straight_in": "mel"},
            {"mel_scale": "kaldi", "triangularize_in_mel_space": True},
        ),
    ],
)
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_mel_filters(ours, theirs, rate):
    expected = audio_utils.mel_filter_bank(
        257, 40, ours.get("lowest", 0.0), rate / 2, rate, **theirs
    )
    np.testing.assert_allclose(mel_filters(257, 40, rate, **ours), expected, atol=1e-9)
