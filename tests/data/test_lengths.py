import numpy as np
import pytest
import soundfile

from mmjax.data.lengths import read_sounds, read_steps
from mmjax.types import UserError


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
        (np.zeros(101, np.float32), "speech: an array has 101 samples at 8000 Hz, the model hears"),
        (np.zeros((2, 50), np.float32), r"of shape \[100\] or fewer, .* of shape \[2, 50\]"),
        (np.zeros(9, np.int16), "got int16 .int16 samples: divide by 32768"),
        ("nowhere.wav", "sound file nowhere.wav cannot be read"),
        ({}, "got object"),
    ],
)
def test_what_is_no_sound_is_one_line(value, words):
    with pytest.raises(UserError, match=words) as error:
        read(value)
    assert "\n" not in str(error.value)


def test_short_series_are_masked_behind_their_end():
    series = np.arange(6, dtype=np.float32).reshape(3, 2)
    options = {"name": "ink", "shape": (4, 2), "dtype": np.float32}
    value, mask, *_ = read_steps([series, None, np.tile(series, (2, 1))[:4]], **options)
    assert mask.sum(axis=1).tolist() == [3, 0, 4]
    np.testing.assert_array_equal(value[0, :3], series)
    assert not value[~mask].any()
    for wrong in (np.zeros((5, 2)), np.zeros((3, 3)), np.zeros(4), "no"):
        with pytest.raises(UserError, match=r"ink: expected float32 numbers of shape \[4, 2\]"):
            read_steps([wrong], **options)
