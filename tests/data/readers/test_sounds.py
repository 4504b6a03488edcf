"""Sounds of every format, rate and number of channels, from paths, bytes, open files and videos."""

import io
import sys

import numpy as np
import pytest
import soundfile

from mmjax.data.readers import audio_file, audio_limits, container
from mmjax.data.readers.lengths import read_file, read_sounds
from mmjax.errors import UserError
from tests.data.readers.movies import RATE, movie

TIME = np.arange(RATE) / RATE
TONE = 0.5 * np.sin(2 * np.pi * 440 * TIME)


def written(samples, kind, subtype=None, rate=RATE):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def film(kind="mp4", codec="aac", samples=TONE):
    """A video whose sound is in the left of two channels."""
    both = np.stack([samples, np.zeros_like(samples)])
    video = {"codec": "mpeg4", "size": (16, 16)}
    return movie(np.arange(5) / 5, kind=kind, sound=both, sound_codec=codec, **video)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 9])
def test_any_number_of_channels_is_averaged(channels):
    waves = np.random.default_rng(0).uniform(-1, 1, (500, channels)).astype(np.float32)
    samples, rate = audio_file.read(written(waves, "WAV", "FLOAT"))
    np.testing.assert_allclose(samples, waves.mean(axis=1), atol=1e-6)
    assert (rate, samples.dtype) == (RATE, np.float32)


@pytest.mark.parametrize(
    ("kind", "subtype", "error"),
    [
        ("WAV", "PCM_U8", 2**-7),
        ("WAV", "PCM_16", 2**-15),
        ("WAV", "PCM_24", 2**-23),
        ("WAV", "PCM_32", 2**-23),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 1e-7),
        ("FLAC", "PCM_16", 2**-15),
        ("FLAC", "PCM_24", 2**-23),
        ("OGG", "VORBIS", 0.02),
        ("OGG", "OPUS", 0.03),
        ("MP3", "MPEG_LAYER_III", 0.02),
    ],
)
def test_formats(kind, subtype, error, tmp_path):
    """One bit of the format is the largest error; of lossy ones some hundredths of the loudness."""
    tone = TONE.astype(np.float32)
    path = tmp_path / f"it.{kind.lower()}"
    path.write_bytes(written(tone, kind, subtype))
    samples = read_file(path, RATE)
    inner = slice(800, -800)  # lossy formats are cut at the ends
    np.testing.assert_allclose(samples[: len(tone)][inner], tone[inner], atol=error)
    with path.open("rb") as file:
        for value in (path.read_bytes(), file):
            np.testing.assert_array_equal(read_file(value, RATE), samples)
    value, mask, *_ = read_sounds([path.read_bytes()], name="it", samples=20_000, rate=RATE)
    np.testing.assert_array_equal(value[mask], samples)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_other_rates_are_resampled(rate):
    time = np.arange(rate) / rate
    samples = read_file(written(0.5 * np.sin(2 * np.pi * 440 * time), "WAV", "FLOAT", rate), RATE)
    assert len(samples) == RATE
    np.testing.assert_allclose(samples[500:-500], TONE[500:-500], atol=5e-3)


@pytest.mark.parametrize(("kind", "error"), [("WAV", 0), ("FLAC", 0), ("OGG", 1e-6), ("MP3", 1e-3)])
def test_a_part_is_that_of_the_whole(kind, error, tmp_path, monkeypatch):
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, (3 * RATE, 2))
    path = tmp_path / "it"
    path.write_bytes(written(noise, kind))
    whole, _ = audio_file.read(path)
    monkeypatch.setattr(audio_file, "BLOCK", 3_000)
    decoded = []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda *a, **k: decoded.append(x := read(*a, **k)) or x
    )
    for start, duration in ((0.0, 0.25), (1.5, 0.5), (2.75, 9.0), (0.3, None)):
        part, rate = audio_file.read(path, start, duration)
        end = None if duration is None else round((start + duration) * rate)
        np.testing.assert_allclose(part, whole[round(start * rate) : end], atol=error)
        assert sum(map(len, decoded)) == len(part)
        decoded.clear()
    for wrong, words in (((9.0,), "is behind its end at 3"), ((-1.0,), "must be 0 s or more")):
        with pytest.raises(UserError, match=words):
            audio_file.read(path, *wrong)
    with pytest.raises(UserError, match="duration=0.0 above 0 s"):
        audio_file.read(path, 0.0, 0.0)


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("mp4", "aac"), ("matroska", "flac"), ("mov", "pcm_s16le"), ("avi", "mp3"), ("mpegts", "aac")],
)
def test_the_sound_of_a_video(kind, codec, tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(film(kind, codec))
    samples, rate = audio_file.read(path)
    assert rate == RATE
    assert abs(len(samples) - RATE) <= 2 * 1152 + 1024
    expected = TONE / 2  # the right is silent
    late = np.correlate(samples[4000:8000], expected[4040:7960], "valid").argmax() - 40
    assert abs(late) <= (0 if kind in ("mp4", "mov", "matroska") else 36)
    shown = samples[4000 + late : 8000 + late]
    np.testing.assert_allclose(shown, expected[4000:8000], atol=0.02)
    value, mask, *_ = read_sounds([path.read_bytes()], name="it", samples=10_000, rate=RATE // 2)
    np.testing.assert_array_equal(value[mask], read_file(path, RATE // 2))


@pytest.mark.parametrize(("codec", "error"), [("aac", 2e-3), ("pcm_s16le", 0)])
def test_a_part_of_the_sound_of_a_video(codec, error):
    """AAC replaces faint noise by other noise each time."""
    time = np.arange(4 * RATE) / RATE
    data = film("mov", codec, 0.5 * np.sin(2 * np.pi * (200 + 100 * time) * time))
    whole, rate = audio_file.read(data)
    for start, duration in ((0.25, 0.1), (1.5, 0.5), (2.75, 9.0), (3.3, None)):
        part, _ = audio_file.read(data, start, duration)
        end = None if duration is None else round((start + duration) * rate)
        np.testing.assert_allclose(part, whole[round(start * rate) : end], atol=error)
    with pytest.raises(UserError, match="start=5 s is behind its end at 4"):
        audio_file.read(data, 5.0)


def refused(value, *part):
    with pytest.raises(UserError) as caught:
        read_file(value, RATE, *part)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("make", [lambda: written(TONE, "WAV"), film], ids=["wav", "mp4"])
def test_limits_are_stated_and_a_part_is_below_them(make, monkeypatch):
    data = make()
    monkeypatch.setattr(audio_limits, "MAX_SECONDS", 0.5)
    assert "s or more, over 0.5 s (MAX_SECONDS, MAX_SAMPLES): cut it into pieces" in refused(data)
    assert len(read_file(data, RATE, 0.25, 0.5)) == RATE // 2
    assert "over 0.5 s" in refused(data, 0.0, 0.75)
    monkeypatch.setattr(audio_limits, "RATES", (1_000, RATE - 1))
    assert "has 16000 samples a second" in refused(data)


def test_a_video_without_sound_and_other_damage(tmp_path):
    silent = movie([0.0, 0.1], codec="mpeg4")
    assert "has no audio track; pass a file that has one" in refused(silent)
    path = tmp_path / "video.mp4"
    path.write_bytes(film()[:900])
    assert f"sound file {path} cannot be read (" in refused(path)
    for content in (b"", b"text", b"#EXTM3U\nfile:///etc/passwd\n"):
        path.write_bytes(content)
        assert f"sound file {path}" in refused(path)


def test_no_other_file_is_read_through_a_playlist(tmp_path):
    (tmp_path / "secret.mp4").write_bytes(film())
    for text in (
        f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/secret.mp4\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {tmp_path}/secret.mp4\n",
    ):
        with (
            pytest.raises(ValueError, match="Invalid"),
            container.container(io.BytesIO(text.encode()), "it", 100),
        ):
            pass


def test_without_pyav_the_line_says_what_to_install(monkeypatch):
    data = film()
    with monkeypatch.context() as patch:
        patch.setattr(container.importlib.metadata, "version", lambda _: "16.9.3")
        assert "PyAV 16.9.3 is too old; run: pip install -U 'av>=17.1'" in refused(data)
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(container.importlib.util, "find_spec", lambda _: None)
    assert "needs PyAV; run: pip install av" in refused(data)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_samples_of_bytes_that_are_no_numbers_are_one_line(number):
    samples = TONE.astype(np.float32)
    samples[9] = number
    data = written(samples, "WAV", "FLOAT")
    assert f"sound file of {len(data)} bytes has NaN or infinite samples" in refused(data)
    assert "has NaN or infinite samples" in refused(film("mov", "pcm_f32le", samples))
