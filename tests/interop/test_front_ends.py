"""Waveforms in the graph against the same models' own feature extractors on the host."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.interop.encoding import front_ends, front_ends_clap
from mmjax.interop.preprocess.sounds.processor import sound_processor

RATE = front_ends.RATE
SOUND = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)  # a second
MASK = np.arange(2 * RATE) < RATE


def padded(rest, seconds=2):
    """The sound, and behind it what is not to be read."""
    rows = np.full((1, seconds * RATE), rest, np.float32)
    rows[0, :RATE] = SOUND
    return jnp.asarray(rows)


def test_whispers_front_end_gives_what_its_extractor_does():
    config = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80}
    expected = sound_processor(config)([SOUND], sampling_rate=RATE)["input_features"]
    mask = jnp.asarray(np.arange(30 * RATE) < RATE)[None]
    inputs, real = front_ends.whisper(padded(0.5, seconds=30), mask, bins=80)
    np.testing.assert_allclose(inputs["input_features"], expected, atol=1e-4)
    assert real.shape == (1, 1500)
    assert abs(int(real.sum()) - 50) <= 1  # 50 tokens a second


@pytest.mark.parametrize(
    "changes", [{"mean": -4.0, "std": 5.0}, {"do_normalize": False}, {}], ids=str
)
def test_asts_front_end_gives_what_its_extractor_does(changes):
    config = {"feature_extractor_type": "ASTFeatureExtractor", "sampling_rate": RATE, **changes}
    expected = sound_processor(config)([SOUND], sampling_rate=RATE)["input_values"]
    options = front_ends.ast_options(config, "here")
    prepare = jax.jit(functools.partial(front_ends.ast, bins=128, frames=1024, **options))
    inputs, real = prepare(padded(0.5), jnp.asarray(MASK)[None])
    # A frame at the end of the sound is partly real: only there the two may differ.
    whole, scale = 1 + (RATE - 400) // 160, 0.5 / options["std"]
    found, scaled = inputs["input_values"] / scale, expected / scale
    np.testing.assert_allclose(found[:, :whole], scaled[:, :whole], atol=1e-2)
    np.testing.assert_allclose(found[:, 110:], scaled[:, 110:], atol=1e-4)
    assert real.tolist() == [True]


def test_ast_without_a_file_is_as_published():
    config = {"feature_extractor_type": "ASTFeatureExtractor", "sampling_rate": RATE}
    assert front_ends.ast_options({}, "here") == {}
    prepare = functools.partial(front_ends.ast, padded(0.0), None, bins=128, frames=300)
    as_published = prepare(**front_ends.ast_options(config, "here"))[0]["input_values"]
    np.testing.assert_allclose(prepare()[0]["input_values"], as_published, atol=1e-5)


WAVES = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": RATE}
WINDOWS = {"sizes": (400, 3), "strides": (160, 2)}
CLAP = {
    "feature_extractor_type": "ClapFeatureExtractor",
    "sampling_rate": 48_000,
    "max_length_s": 1,
    "frequency_min": 50,
}


def rows(*lengths, rest=0.5):
    """Sounds of drawn samples, and the batch of them with which of its samples are real."""
    generator = np.random.default_rng(0)
    sounds = [generator.normal(0.1, 0.1, length).astype(np.float32) for length in lengths]
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    batch = np.full(mask.shape, rest, np.float32)
    batch[mask] = np.concatenate(sounds)
    return sounds, jnp.asarray(batch), jnp.asarray(mask)


def wav2vec2(value, mask, **changes):
    options = front_ends.wav2vec2_options(WAVES | changes, "here")
    return jax.jit(functools.partial(front_ends.wav2vec2, **WINDOWS, **options))(value, mask)


def clap(value, mask, *, fused=False, **changes):
    config = CLAP | {"truncation": "fusion" if fused else "rand_trunc"} | changes
    options = front_ends_clap.clap_options(config, "here", bins=64, fused=fused)
    return jax.jit(functools.partial(front_ends_clap.clap, **options))(value, mask)


@pytest.mark.parametrize("normalised", [False, True])
def test_wav2vec2_hears_what_its_extractor_does(normalised):
    sounds, value, mask = rows(RATE, 7000, 250)
    changes = {"do_normalize": normalised, "return_attention_mask": True}
    expected = sound_processor(WAVES | changes)(sounds, RATE)
    inputs, real = wav2vec2(value, mask, **changes)
    for name in ("input_values", "attention_mask"):
        np.testing.assert_allclose(inputs[name], expected[name], atol=1e-5)
    # Frames of 400 + 2 * 160 samples every 320, and of these the wholly real ones.
    np.testing.assert_array_equal(real.sum(1), [(RATE - 720) // 320 + 1, 20, 0])
    assert real.shape[1] == real.sum(1).max()


def test_wav2vec2_without_a_mask_hears_each_sound_as_if_alone_and_then_silence():
    sounds, value, mask = rows(RATE, 7000)
    inputs, _ = wav2vec2(value, mask)
    assert set(inputs) == {"input_values"}
    for row, sound in zip(inputs["input_values"], sounds, strict=True):
        (expected,) = sound_processor(WAVES)([sound], RATE)["input_values"]
        np.testing.assert_allclose(row[: len(sound)], expected, atol=1e-5)
        assert not row[len(sound) :].any()


class Middle(np.random.RandomState):
    """Not random: the first place, and the middle of a third."""

    def randint(self, low, _):
        return low

    def choice(self, third):
        return third[len(third) // 2]


@pytest.mark.parametrize(
    ("fused", "padding"),
    [(False, "repeat"), (True, "repeatpad"), (True, "pad")],
)
def test_claps_front_end_gives_what_its_extractor_does(fused, padding, monkeypatch):
    # Short, half a second, of the length that it takes, a few samples longer, one frame, and more.
    sounds, value, mask = rows(900, 24_000, 48_000, 48_100, 48_480, 100_000)
    monkeypatch.setattr(np.random, "RandomState", Middle)
    config = CLAP | {"truncation": "fusion" if fused else "rand_trunc", "padding": padding}
    expected = sound_processor(config)(sounds, 48_000)
    inputs, real = clap(value, mask, fused=fused, padding=padding)
    found = inputs["input_features"]
    np.testing.assert_allclose(found, expected["input_features"], atol=5e-4)  # dB
    assert real.all()
    if fused:
        assert inputs["is_longer"].ravel().tolist() == [False] * 4 + [True] * 2
        np.testing.assert_array_equal(inputs["is_longer"], expected["is_longer"])
    # A sound is prepared alike whatever is beside it; a batch of shorter ones has no longer.
    alone, _ = clap(value[:2, :24_000], mask[:2, :24_000], fused=fused, padding=padding)
    np.testing.assert_allclose(alone["input_features"], found[:2], atol=5e-4)
    assert not fused or not alone["is_longer"].any()


@pytest.mark.parametrize(
    "prepare",
    [
        lambda value, mask: front_ends.whisper(value, mask, bins=80),
        lambda value, mask: front_ends.ast(value, mask, bins=128, frames=300),
        wav2vec2,
        lambda value, mask: wav2vec2(value, mask, return_attention_mask=True),
        clap,
        lambda value, mask: clap(value, mask, fused=True, max_length_s=0.25),
    ],
)
def test_what_is_masked_contributes_nothing(prepare):
    mask = jnp.asarray(MASK)[None]
    quiet, loud = (prepare(padded(rest), mask) for rest in (0.0, 0.9))
    for name, x in quiet[0].items():
        np.testing.assert_array_equal(x, loud[0][name])
    nothing, real = prepare(padded(0.9), jnp.zeros((1, 2 * RATE), bool))
    assert not real.any()
    assert all(np.isfinite(x).all() for x in nothing.values())
    with pytest.raises(UserError, match="expected a float32 waveform"):
        prepare(padded(0.0).astype(jnp.bfloat16), mask)


@pytest.mark.parametrize(
    "prepare",
    [wav2vec2, lambda value, mask: clap(value, mask, fused=True, max_length_s=0.25)],
)
def test_nothing_flows_to_what_is_masked(prepare):
    def total(value, mask):
        return sum(
            jnp.sum(x**2) for x in prepare(value, mask)[0].values() if x.dtype == jnp.float32
        )

    real = jnp.stack([jnp.asarray(MASK), jnp.zeros(MASK.shape, bool)])
    gradient = np.asarray(jax.jit(jax.grad(total))(jnp.tile(padded(0.9), (2, 1)), real))
    assert np.isfinite(gradient).all()
    assert gradient[0, MASK].any()
    assert not gradient[~np.asarray(real)].any()


def test_what_is_masked_within_a_sound_is_silence():
    _, value, mask = rows(9000, 7000)
    mask = mask & (jnp.arange(9000) % 1000 > 100)
    silent, whole = jnp.where(mask, value, 0.0), jnp.arange(9000) < jnp.array([[9000], [7000]])
    for prepare in (clap, lambda value, mask: wav2vec2(value, mask, do_normalize=False)):
        (one, real), (two, all_real) = prepare(value, mask), prepare(silent, whole)
        np.testing.assert_array_equal(real, all_real)
        for name, x in one.items():
            np.testing.assert_array_equal(x, two[name])


@pytest.mark.parametrize(
    ("options", "config", "said"),
    [
        ({}, {}, "add its preprocessor_config.json"),
        ({}, {"processor_class": "Wav2Vec2Processor"}, "add its preprocessor_config.json"),
        ({}, CLAP, "prepared by ClapFeatureExtractor"),
        ({}, WAVES | {"dither": 0.1}, "dither"),
        ({}, WAVES | {"do_normalize": 1}, "do_normalize"),
        ({"bins": 64, "fused": False}, {}, "add its preprocessor_config.json"),
        ({"bins": 64, "fused": False}, WAVES, "prepared by Wav2Vec2FeatureExtractor"),
        ({"bins": 64, "fused": False}, CLAP | {"truncation": "fusion"}, "truncation='rand_trunc'"),
        ({"bins": 64, "fused": True}, CLAP | {"truncation": "rand_trunc"}, "truncation='fusion'"),
        ({"bins": 32, "fused": True}, CLAP, "feature_size=32"),
    ],
)
def test_a_file_of_another_model_is_refused_in_one_line(options, config, said):
    read = front_ends_clap.clap_options if options else front_ends.wav2vec2_options
    with pytest.raises(UserError, match=said) as error:
        read(config, "here", **options)
    assert "\n" not in str(error.value)


def test_newer_and_older_files_say_the_same():
    nested = {"processor_class": "Wav2Vec2Processor", "feature_extractor": WAVES}
    older = {key: value for key, value in WAVES.items() if key != "feature_extractor_type"}
    read = [front_ends.wav2vec2_options(config, "here") for config in (WAVES, nested, older)]
    assert read[0] == read[1] == read[2]
    assert read[0] == {"normalised": True, "masked": False, "sample_rate": RATE}
