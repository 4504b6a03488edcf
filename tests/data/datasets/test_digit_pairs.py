import numpy as np
import pytest
import soundfile
from sklearn.datasets import load_digits

from mmjax.data.datasets.digit_pairs import digit_pairs
from mmjax.errors import UserError

SPEAKERS = ("ann", "bob", "cat", "dan")
RATE = 8000


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two takes of each digit by four people: a tone of the digit, and one of the speaker."""
    path = tmp_path_factory.mktemp("recordings")
    time = np.arange(RATE) / RATE
    for number, speaker in enumerate(SPEAKERS):
        for digit in range(10):
            pitches = 100 * (digit + 1), 2000 + 100 * number
            tone = sum(a * np.sin(2 * np.pi * p * time) for a, p in zip((0.4, 0.2), pitches))  # noqa: B905
            for take, length in enumerate((2000, 7000)):
                soundfile.write(path / f"{digit}_{speaker}_{take}.wav", tone[:length], RATE)
    return path


def made(recordings, **options):
    small = {"train": 100, "validation": 60, "test": 60}
    return digit_pairs(dir="", recordings=str(recordings), **{**small, **options})


def test_picture_and_recording_are_of_the_label_and_of_no_other_split(recordings):
    splits, shown = made(recordings, fold=3), load_digits().target
    voices, pictures = {}, {}
    for name, split in splits.items():
        labels = split.targets["label"].values
        assert np.ptp(np.bincount(labels)) == 0
        np.testing.assert_array_equal(shown[split.index["image"]], labels)
        sounds = split.values["audio"][split.index["audio"]][:, :2000]
        bands = np.abs(np.fft.rfft(sounds))[:, :: 2000 * 100 // RATE]  # of 100 Hz
        np.testing.assert_array_equal(bands[:, 1:11].argmax(axis=1), labels)
        voices[name] = {*bands[:, 20:24].argmax(axis=1)}
        pictures[name] = {*split.index["image"]}
    assert voices == {"test": {3}, "validation": {0}, "train": {1, 2}}
    assert not pictures["train"] & (pictures["validation"] | pictures["test"])
    assert not pictures["validation"] & pictures["test"]
    assert all(max(pictures["validation"]) < x for x in pictures["test"])


def test_sounds_are_cut_and_masked(recordings):
    split = made(recordings, seconds=0.5)["test"]
    values, real = split.values["audio"], split.masks["audio"]
    assert values.shape == real.shape == (80, 4000)
    assert {*real.sum(axis=1)} == {2000, 4000}
    np.testing.assert_array_equal(values[~real], 0)
    loudness = [np.sqrt((row[there] ** 2).mean()) for row, there in zip(values, real, strict=True)]
    np.testing.assert_allclose(loudness, 0.1, rtol=1e-3)


@pytest.mark.parametrize("snr", [10.0, -10.0])
def test_noise_has_its_power_where_there_is_sound(recordings, snr):
    clean, noisy = (made(recordings, snr=x)["train"] for x in (None, snr))
    noise = noisy.values["audio"] - clean.values["audio"]
    real = clean.masks["audio"]
    np.testing.assert_array_equal(noise[~real], 0)
    power = (clean.values["audio"] ** 2).sum(axis=1) / (noise**2).sum(axis=1)
    np.testing.assert_allclose(10 * np.log10(power), snr, atol=0.6)


def test_pictures_are_those_of_the_file_and_noise_is_in_shades_of_white(recordings):
    clean, noisy = (made(recordings, blur=x)["train"].values["image"] for x in (0.0, 0.1))
    np.testing.assert_array_equal(clean[..., 0], (load_digits().images * 255 / 16).round())
    grey = (clean > 100) & (clean < 155)
    assert (noisy - np.float32(clean))[grey].std() == pytest.approx(25.5, rel=0.1)


def test_a_seed_repeats_itself_and_another_does_not(recordings):
    one, again, other = (made(recordings, seed=seed, snr=0.0)["test"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.values["audio"], again.values["audio"])
    np.testing.assert_array_equal(one.index["audio"], again.index["audio"])
    assert not np.array_equal(one.values["audio"], other.values["audio"])
    assert not np.array_equal(one.index["audio"], other.index["audio"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fold": 4}, "fold=4: give 0 to 3, one of ann, bob, cat, dan"),
        ({"blur": -1.0}, "a blur of 0 or more"),
        ({"seconds": 0.01}, "0.1 seconds or more"),
        ({"train": 0}, "1 pair or more"),
        ({"recordings": "/nothing"}, "data set digit_pairs: no recordings in /nothing"),
    ],
)
def test_mistakes_are_one_line(recordings, options, words):
    with pytest.raises(UserError, match=words):
        made(**{"recordings": recordings, **options})
