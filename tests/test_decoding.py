"""Damaged files of every kind: a result or one line, in little time and stated memory."""

import json
import random
import signal
import tracemalloc

import numpy as np
import PIL.Image
import pytest
import soundfile

from experiments.fuzz import damage, run, targets, words
from mmjax.data.readers import audio_file, audio_limits, image_file
from mmjax.data.readers.lengths import read_file
from mmjax.data.readers.transforms import read_image
from mmjax.errors import MAX_LETTERS, UserError, decoding
from mmjax.factory.make_tasks import stored_vocabularies
from mmjax.interop.preprocess import limits
from mmjax.interop.preprocess.images import pixels
from mmjax.interop.preprocess.images.processor import image_processor
from mmjax.interop.preprocess.sounds.processor import sound_processor
from mmjax.interop.preprocess.texts.guarded import guarded, unpacked
from mmjax.interop.preprocess.texts.processor import text_processor
from mmjax.predict import read_lines
from mmjax.train.checkpoints import workdir


class PanicException(BaseException):
    """As pyo3's, which is no Exception."""


def said(function, *arguments, **options):
    """The one line that a call is refused with; it names no more than a user can read."""
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) <= MAX_LETTERS
    return message


@pytest.mark.parametrize(
    "error",
    [
        ValueError("two\nlines"),
        NotImplementedError("x"),
        RuntimeError(),
        MemoryError("of 6 GiB"),
        RecursionError("deep"),
        PanicException("index out of bounds"),
        KeyError("y" * 9000),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_decoder_raises_is_one_line_with_its_cause(error):
    def read():
        with decoding("file x cannot be read", "fetch it"):
            raise error

    message = said(read)
    assert message.startswith(f"file x cannot be read ({type(error).__name__}: ")
    assert message.endswith("; fetch it")
    with pytest.raises(UserError) as caught:
        decoding("x", "y")(read)()
    assert caught.value.__cause__ is error or caught.value.__cause__ is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, UserError("plain"), ImportError])
def test_what_is_no_damage_passes(error):
    kind = error if isinstance(error, type) else type(error)
    with pytest.raises(kind) as caught, decoding("x", "y"):
        raise error
    assert "x (" not in str(caught.value)


def test_a_message_is_one_line_of_bounded_length():
    message = str(UserError("a\nb" + "y" * 10**5 + "the end"))
    assert message.startswith("a b")
    assert message.endswith("the end")
    assert len(message) <= MAX_LETTERS


@pytest.mark.parametrize(
    "name", ["pictures", "sounds", "videos", "preprocessors", "lines", "tokenizers"]
)
def test_some_damaged_files(name, tmp_path):
    """The first inputs of the long run in experiments/fuzz."""
    attempt = targets.TARGETS[name](tmp_path)
    outcomes = {}
    before = signal.getsignal(signal.SIGPROF)
    for number in range(60):
        outcome, words_said = run.attempt(attempt, number, 0, tmp_path)
        assert outcome != "failed", f"{name} {number}: {words_said}"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    signal.signal(signal.SIGPROF, before)
    assert len(outcomes) == 2


def test_the_fuzzer_sees_what_fails(tmp_path):
    def wrong(number, _seed, _folder):
        if number == 0:
            raise KeyError("x")
        raise UserError("x") from MemoryError() if number == 1 else None

    outcomes = [run.attempt(wrong, number, 0, tmp_path)[0] for number in range(3)]
    assert outcomes == ["failed", "failed", "refused"]
    draws = [damage.bytes_of(b"abc" * 50, random.Random(7), [b"x"]) for _ in range(2)]
    assert draws[0] == draws[1] != b"abc" * 50


@pytest.mark.parametrize("read", [pixels.read, lambda path: read_image(path, 8)])
def test_pictures(read, tmp_path, monkeypatch):
    path, dds = tmp_path / "it.bmp", tmp_path / "it.dds"
    for file in (path, dds):
        PIL.Image.new("RGB", (4, 4)).save(file)
    data = bytearray(path.read_bytes())
    data[18:26] = (30_000).to_bytes(4, "little") * 2  # its sides
    path.write_bytes(bytes(data))
    assert "DecompressionBombError" in said(read, path)
    data = bytearray(dds.read_bytes())
    data[80:84] = b"\0\1\0\0"  # the flags of its pixels
    dds.write_bytes(bytes(data))
    assert "NotImplementedError" in said(read, dds)
    dds.write_text("no picture")
    assert "not an image" in said(read, dds)
    assert "no such file" in said(read, tmp_path / "nothing.png")
    PIL.Image.new("RGB", (4, 4)).save(path)
    read(path)
    monkeypatch.setattr(image_file, "MAX_PIXELS", 15)
    assert "has 4 x 4 pixels, over 15" in said(read, path)


@pytest.mark.parametrize("read", [lambda p: read_file(p, 16_000), audio_file.read])
def test_sounds(read, tmp_path, monkeypatch):
    path = tmp_path / "it.wav"
    soundfile.write(path, np.zeros((400, 2)), 16_000)
    assert len(read(path) if read is not audio_file.read else read(path)[0]) == 400
    data = bytearray(path.read_bytes())
    for rate in (1, 2**31 - 1):
        data[24:28] = rate.to_bytes(4, "little")
        path.write_bytes(bytes(data))
        assert "samples a second" in said(read, path)
    soundfile.write(path, np.zeros((400, 2)), 16_000)
    raw = path.rename(tmp_path / "it.raw")
    assert "TypeError" in said(read, raw)
    raw.rename(path)
    monkeypatch.setattr(audio_limits, "MAX_SAMPLES", 399)
    assert "over 0.0249375 s (MAX_SECONDS, MAX_SAMPLES): cut it" in said(read, path)


def test_a_sound_is_read_in_blocks_as_in_one_piece(tmp_path, monkeypatch):
    path = tmp_path / "it.flac"
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (1000, 3))
    soundfile.write(path, wave, 16_000)
    monkeypatch.setattr(audio_file, "BLOCK", 100)
    found, rate = audio_file.read(path)
    expected = soundfile.read(path, dtype="float32")[0].mean(axis=1)
    np.testing.assert_array_equal(found, expected, strict=True)
    assert rate == 16_000


BYTES = 300 << 20  # of memory
HUGE = [
    (image_processor, {"image_processor_type": "CLIPImageProcessor", "crop_size": 2**16}),
    (image_processor, {"resize_size": 2**16, "crop_size": 8}),
    (image_processor, targets.IMAGES["Siglip2"] | {"max_num_patches": 2**16, "patch_size": 2**10}),
    (image_processor, {"pretrained_cfg": {"input_size": [3, 16, 16], "crop_pct": 1e-12}}),
    (sound_processor, targets.SOUNDS[0] | {"n_fft": 10**6}),
    (sound_processor, targets.SOUNDS[0] | {"hop_length": 1}),
    (sound_processor, targets.SOUNDS[0] | {"feature_size": 10**6}),
    (sound_processor, targets.SOUNDS[0] | {"chunk_length": 10**6}),
    (sound_processor, targets.SOUNDS[1] | {"max_length": 10**6}),
    (sound_processor, targets.SOUNDS[2] | {"max_length_s": 10**6}),
    (sound_processor, targets.SOUNDS[2] | {"fft_window_size": 10**6, "hop_length": 10**6}),
]


@pytest.mark.parametrize(("make", "config"), HUGE)
def test_settings_that_ask_for_gigabytes_are_refused_before_they_are_made(make, config):
    inputs = [np.zeros((30, 20, 3), np.uint8)]
    if make is sound_processor:
        inputs = [np.zeros(5000, np.float32)]
    rate = (48_000 if "Clap" in str(config) else 16_000,) if make is sound_processor else ()
    tracemalloc.start()
    said(lambda: make(config)(inputs, *rate))
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert memory < BYTES


def test_published_settings_are_below_the_limits():
    """The largest that are known: crops of 1024 pixels, windows of 2048 samples, 30 s."""
    limits.check_picture(4096, 4096)
    whisper = {"n_fft": 400, "feature_size": 128, "hop_length": 160, "chunk_length": 30}
    limits.check_sound(whisper | {"sampling_rate": 16_000}, "Whisper")


def tokenizer(folder, files):
    for name, value in files.items():
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        (folder / name).write_bytes(text)
    return text_processor(folder, {})


def test_tokenizers(tmp_path):
    table = json.loads(json.dumps(words._json_tokenizers()[1]))
    del table["model"]["vocab"]["[UNK]"]
    processor = tokenizer(tmp_path, {"tokenizer.json": table})
    assert "cannot encode" in said(processor, ["ü"])

    def panics():
        raise PanicException("in Rust")

    assert "PanicException" in said(guarded, tmp_path, panics)
    long = {"model_max_length": 10**9, "pad_token": "[PAD]"}
    whole = {"tokenizer.json": words._json_tokenizers()[0], "tokenizer_config.json": long}
    assert "smaller max_length" in said(tokenizer(tmp_path, whole), ["a"], padding="max_length")
    packed = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    packed.write_bytes(b"\x1f\x8b\x08\0" + bytes(40))
    assert "cannot be read" in said(unpacked, packed)


DEEP = "[" * 100_000


def test_files_of_a_run_and_lines(tmp_path):
    for name in (workdir.LABELS_FILE, workdir.TUNED_FILE):
        (tmp_path / name).write_text(DEEP)
    assert "is not JSON" in said(stored_vocabularies, tmp_path, {"label": None})
    assert "is not JSON" in said(workdir.read_tuned, tmp_path, ("label",))
    (tmp_path / workdir.LABELS_FILE).write_text('["a", 3]')
    assert "label has no list of names" in said(stored_vocabularies, tmp_path, {"label": None})
    assert "label has no list" in said(stored_vocabularies, tmp_path, {"label": 0, "other": 0})
    (tmp_path / workdir.TUNED_FILE).write_text('{"thresholds": ["high"]}')
    assert "tuned.json is damaged" in said(workdir.read_tuned, tmp_path, ("label",))
    for text in (DEEP, "9" * 10_000, '{"a": ' + "9" * 10_000 + "}"):
        (tmp_path / "it.jsonl").write_text(text)
        (row,) = read_lines(str(tmp_path / "it.jsonl"))
        assert "line 1" in row.place
        assert "JSON" in row.error or "object" in row.error
