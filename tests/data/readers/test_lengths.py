import numpy as np
import pytest
import soundfile

from mmjax.data.datasets.tux_paint.stamps import read_clip
from mmjax.data.readers.lengths import read_sounds, read_steps
from mmjax.errors import UserError
from mmjax.interop.preprocess.sounds.processor import sound_processor

WAVES = {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}


def read(*values, samples=100, rate=8000):
    return read_sounds(values, name="speech", samples=samples, rate=rate)


def test_short_sounds_are_masked_behind_their_end():
    sound = np.linspace(-1, 1, 60)
    value, mask, *_ = read(sound, None, sound[:0], list(sound))
    assert value.dtype == np.float32
    assert mask.sum(axis=1).tolist() == [60, 0, 0, 60]
    np.testing.assert_array_equal(value[0, :60], np.float32(sound))
    np.testing.assert_array_equal(value[3], value[0])
    assert not value[~mask].any()


def test_files_are_resampled_and_their_channels_averaged(tmp_path):
    t = np.arange(1600) / 16000
    tone = 0.5 * np.sin(2 * np.pi * 440 * t)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, 0 * tone], 1), 16000, subtype="FLOAT")
    value, mask, *_ = read(str(tmp_path / "a.wav"), tmp_path / "a.wav", samples=1000)
    assert mask.sum(axis=1).tolist() == [800, 800]
    inner = slice(50, 750)  # the filter's ends are zeros
    np.testing.assert_allclose(value[0, inner], tone[::2][inner] / 2, atol=1e-3)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros(101, np.float32), "speech: an array has 101 samples at 8000 Hz, the model takes"),
        (np.zeros((2, 50), np.float32), r"of shape \[100\] or fewer, .* of shape \[2, 50\]"),
        (np.zeros(9, np.int16), "got int16 .int16 samples: divide by 32768"),
        ("nowhere.wav", "sound file nowhere.wav cannot be read"),
        (np.array([0, np.nan], np.float32), "speech: array 1 of its batch has NaN or infinite"),
        (np.array([0, -np.inf]), "speech: array 1 of its batch has NaN or infinite"),
        (np.array([0, 1e39]), "speech: array 1 of its batch has NaN or infinite"),  # in float32
        ({}, "got object"),
    ],
)
def test_what_is_no_sound_is_one_line(value, words):
    with pytest.raises(UserError, match=words) as error:
        read(value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("rate", [8000, 16_000])
def test_a_file_with_a_sample_that_is_no_number_is_one_line(number, rate, tmp_path):
    """Of every reader of sound files; at another rate it would be in all samples around it."""
    samples = np.full((50, 2), 0.1, np.float32)
    samples[7, 1] = number
    for name in ("a.wav", "a.aiff"):
        soundfile.write(tmp_path / name, samples, rate, subtype="FLOAT")
        for call in (
            lambda file: read(file),
            lambda file: sound_processor(WAVES)([file]),
        ):
            with pytest.raises(UserError, match=f"{name} has NaN or infinite samples") as error:
                call(tmp_path / name)
            assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="no numbers"):
        read_clip(tmp_path / "a.wav")


def test_short_series_are_masked_behind_their_end():
    series = np.arange(6, dtype=np.float32).reshape(3, 2)
    options = {"name": "ink", "shape": (4, 2), "dtype": np.float32}
    value, mask, *_ = read_steps([series, None, np.tile(series, (2, 1))[:4]], **options)
    assert mask.sum(axis=1).tolist() == [3, 0, 4]
    np.testing.assert_array_equal(value[0, :3], series)
    assert not value[~mask].any()
    for wrong in (np.zeros((5, 2)), np.zeros((3, 3)), np.zeros(4)):
        with pytest.raises(UserError, match=r"ink: expected float32 numbers of shape \[4, 2\]"):
            read_steps([wrong], **options)
    with pytest.raises(UserError, match="ink: 'no' is neither JSON"):
        read_steps(["no"], **options)
