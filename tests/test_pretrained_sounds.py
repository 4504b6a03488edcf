"""Published models of raw waveforms in recipes: what they need beside them, and at which rate."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import factory, pretrained
from mmjax.errors import UserError
from mmjax.factory.checkpoints.pretrained import checkpoints
from mmjax.factory.make_readers import make_readers
from mmjax.interop.architecture import Checkpoint
from mmjax.interop.formats import safetensors
from mmjax.interop.weights.layout import nested
from mmjax.interop.weights.recognition import architecture_of
from mmjax.interop.weights.variables import expected_shapes, to_tensors
from mmjax.nn.audio.spectrogram import log_mel
from tests.factory.test_factory import ROOT, module_of

CONFIG = {
    "model_type": "wav2vec2",
    "hidden_size": 12,
    "num_attention_heads": 3,
    "num_hidden_layers": 1,
    "intermediate_size": 20,
    "conv_dim": [6, 8],
    "conv_kernel": [400, 3],
    "conv_stride": [160, 2],
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
CLAP = {
    "model_type": "clap_audio_model",
    "window_size": 2,
    "num_mel_bins": 16,
    "spec_size": 32,
    "depths": [1],
    "num_attention_heads": [1],
    "patch_embeds_hidden_size": 6,
}
VIT = {
    "model_type": "vit",
    "hidden_size": 12,
    "num_attention_heads": 3,
    "num_hidden_layers": 1,
    "intermediate_size": 20,
    "image_size": 32,
    "patch_size": 16,
}
MODELS = {"wav2vec2": CONFIG, "clap": CLAP, "vit": VIT}
HEARS = {
    "wav2vec2": {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16_000},
    "clap": {
        "feature_extractor_type": "ClapFeatureExtractor",
        "feature_size": 16,
        "sampling_rate": 48_000,
        "hop_length": 800,
        "max_length_s": 1,
        "truncation": "rand_trunc",
    },
}
SEES = {
    "image_processor_type": "ViTImageProcessor",
    "size": 32,
    "image_mean": [0.2] * 3,
    "image_std": [0.4] * 3,
}


def write(folder, name, **changes):
    """A model as its library saves it, and what prepares its inputs; None leaves the latter out."""
    config = MODELS[name]
    architecture = architecture_of(Checkpoint(Path("a fake"), config, {}), jnp.float32)
    generator = np.random.default_rng(0)
    shapes = expected_shapes(architecture)
    drawn = {path: generator.normal(0, 0.2, shape) ** 2 for path, shape in shapes.items()}
    folder.mkdir()
    tensors = to_tensors(architecture.rules, nested(drawn), {})
    tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    safetensors.write(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps(config))
    if None not in changes.values():
        hears = (HEARS | {"vit": SEES})[name] | changes
        (folder / "preprocessor_config.json").write_text(json.dumps(hears))
    return folder


def recipe(path, data="tux_paint", **options):
    config = factory.checked(module_of(ROOT / "configs" / "align.py").get_config())
    config.modalities = ("speech", "text")
    config.data.name = data
    config.data.options = options
    config.data.shapes = {"speech": (4000,), "text": (3,)}
    config.encoders.speech = pretrained(str(path), kind="audio")
    return config


@pytest.mark.parametrize("name", HEARS)
def test_a_recipe_takes_raw_waveforms(name, tmp_path):
    config = recipe(write(tmp_path / "it", name), data="controlled")
    model = factory.model(config, classes=0, vocabulary_size=9)
    example = factory.example_inputs(config)
    outputs = jax.eval_shape(lambda key: model.init_with_output(key, example)[0], jax.random.key(0))
    assert outputs["embedding/speech"].shape == (1, 64)
    # What a workdir keeps of the checkpoint is enough.
    kept = checkpoints(config, tmp_path / "run")
    again = factory.model(config, classes=0, vocabulary_size=9, checkpoints=kept)
    value = jnp.asarray(np.random.default_rng(0).normal(0, 0.1, (1, 4000)), jnp.float32)
    one, two = (m.encoders["speech"].prepare(value, None)[0] for m in (model, again))
    for key, x in one.items():
        np.testing.assert_array_equal(x, two[key])


@pytest.mark.parametrize(
    ("changes", "data", "options", "said", "rate"),
    [
        ({}, "tux_paint", {}, {}, 16_000),
        ({}, "tux_paint", {"sample_rate": 8000}, {}, 8000),
        ({}, "controlled", {}, {}, 16_000),  # which says nothing
        ({}, "controlled", {}, {"sample_rate": 44_100}, 44_100),
        ({}, "spoken_numbers", {}, {}, 8000),
        ({}, "digit_arithmetic", {}, {}, 8000),
        ({"sampling_rate": 8000}, "tux_paint", {}, {}, 16_000),
        ({"sampling_rate": 8000}, "tux_paint", {"sample_rate": 8000}, {}, 8000),
    ],
)
def test_a_model_takes_the_sounds_of_the_data_at_its_own_rate(
    changes, data, options, said, rate, tmp_path
):
    path = write(tmp_path / "it", "wav2vec2", **changes)
    config = recipe(path, data, **options)
    config.encoders.speech.update(said)
    encoder = factory.model(config, classes=0, vocabulary_size=9).encoders["speech"]
    heard = changes.get("sampling_rate", 16_000)
    seconds = np.arange(rate // 2) / rate
    tone = (0.5 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)
    mask = np.ones((2, rate // 2), bool)
    mask[1, rate // 4 :] = False
    inputs, real = encoder.prepare(jnp.asarray(np.stack([tone, tone])), jnp.asarray(mask))
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(heard // 2) / heard)
    found = inputs["input_values"]
    assert found.shape == (2, heard // 2)
    middle = slice(heard // 20, heard // 5)  # away from where the tone starts and stops
    for row in np.asarray(found):
        ratio = expected[middle] @ row[middle] / sum(expected[middle] ** 2)
        assert ratio > 0.5  # it is normalised to a variance of one
        np.testing.assert_allclose(row[middle], ratio * expected[middle], atol=1e-2)
    assert real[0].sum() > 1.9 * real[1].sum()
    # The files of users are read at the rate of the data.
    assert make_readers(config, {})["speech"].keywords["rate"] == rate


def test_our_own_encoders_resample_to_the_rate_of_the_data(tmp_path):
    config = recipe(write(tmp_path / "it", "wav2vec2"), "spoken_numbers")
    config.encoders.speech = {"kind": "audio", "name": "whisper"}
    rate = factory.model(config, classes=0, vocabulary_size=9).encoders["speech"].sample_rate
    assert rate == 8000
    config.encoders.speech.sample_rate = 4000
    assert make_readers(config, {})["speech"].keywords["rate"] == 4000
    rate = factory.model(config, classes=0, vocabulary_size=9).encoders["speech"].sample_rate
    assert rate == 4000


def hear(config):
    encoder = factory.model(config, classes=0, vocabulary_size=9).encoders["speech"]
    return encoder.prepare(jnp.zeros((1, 4000)), None)


@pytest.mark.parametrize(
    ("kind", "rate", "said"),
    [
        ("audio", 0, "cannot be resampled from 0 to 16000 Hz"),
        ("audio", 22_051, "resample the files by common rates"),
        ("image", 8000, "config.encoders.speech.sample_rate is for kind='audio', not 'image'"),
    ],
)
def test_a_rate_that_cannot_be_is_one_line(kind, rate, said, tmp_path):
    path = write(tmp_path / "it", "wav2vec2" if kind == "audio" else "vit")
    config = recipe(path)
    config.encoders.speech.update({"kind": kind, "sample_rate": rate})
    with pytest.raises(UserError, match=said) as error:
        hear(config)
    assert "\n" not in str(error.value)


def test_a_model_of_48_khz_hears_sounds_of_16(tmp_path):
    config = recipe(write(tmp_path / "it", "clap"))
    encoder = factory.model(config, classes=0, vocabulary_size=9).encoders["speech"]
    tone = np.sin(2 * np.pi * 2000 * np.arange(8000) / 16_000).astype(np.float32)
    tripled = np.sin(2 * np.pi * 2000 * np.arange(24_000) / 48_000).astype(np.float32)
    at_16, _ = encoder.prepare(jnp.asarray(tone[None]), None)
    at_48, _ = encoder.prepare.keywords["prepare"](jnp.asarray(tripled[None]), None)
    loud = at_48["input_features"] > 0  # dB
    assert loud.any()
    np.testing.assert_allclose(
        at_16["input_features"][loud], at_48["input_features"][loud], atol=1.0
    )


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("wav2vec2", {"sampling_rate": None}, "add its preprocessor_config.json"),
        ("clap", {"sampling_rate": None}, "add its preprocessor_config.json"),
        ("clap", {"truncation": "fusion"}, "truncation='rand_trunc'"),
    ],
)
def test_one_whose_files_do_not_say_how_sounds_are_prepared_is_refused_in_one_line(
    name, changes, said, tmp_path
):
    config = recipe(write(tmp_path / "it", name, **changes))
    with pytest.raises(UserError, match=said) as error:
        factory.model(config, classes=0, vocabulary_size=9)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_a_model_of_pictures_sees_the_spectrogram_of_a_sound(rate, tmp_path):
    config = recipe(write(tmp_path / "it", "vit"), sample_rate=rate)
    length = rate // 4
    config.data.shapes = {"speech": (length,), "text": (3,)}
    encoder = factory.model(config, classes=0, vocabulary_size=9).encoders["speech"]
    sound = np.random.default_rng(0).normal(0, 0.1, (2, length)).astype(np.float32)
    mask = np.ones((2, length), bool)
    mask[1, length // 2 :] = False
    inputs, there = encoder.prepare(jnp.asarray(sound), jnp.asarray(mask))
    assert there.all()
    pixels = np.asarray(inputs["pixel_values"])
    assert pixels.shape == (2, 3, 32, 64)
    log_energy, real = log_mel(
        jnp.asarray(sound), jnp.asarray(mask), convention="whisper", sample_rate=rate, bins=64
    )
    for row in range(2):
        frames = int(real[row].sum())
        x = np.asarray(log_energy[row, :frames])
        level = 1 + (x - x.max()) / 2  # (log10 + 4) / 4: two are 80 dB
        for channel in pixels[row]:
            np.testing.assert_allclose(channel[:frames], (level - 0.2) / 0.4, atol=0.6 / 255 / 0.4)
            np.testing.assert_allclose(channel[frames:], (0 - 0.2) / 0.4, atol=1e-6)
    louder = encoder.prepare(jnp.asarray(3 * sound), jnp.asarray(mask))[0]["pixel_values"]
    np.testing.assert_allclose(louder, pixels, atol=1.1 / 255 / 0.4)


def test_what_is_masked_of_a_sound_is_not_seen(tmp_path):
    config = recipe(write(tmp_path / "it", "vit"))
    encoder = factory.model(config, classes=0, vocabulary_size=9).encoders["speech"]
    sound = np.random.default_rng(0).normal(0, 0.1, (2, 4000)).astype(np.float32)
    mask = np.ones((2, 4000), bool)
    mask[0, 2000:], mask[1] = False, False
    changed = np.where(mask, sound, 7.0).astype(np.float32)
    sound, changed, mask = map(jnp.asarray, (sound, changed, mask))
    variables = encoder.init(jax.random.key(0), sound, mask)
    one, two = (encoder.apply(variables, x, mask) for x in (sound, changed))
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.mask.all(axis=1), [True, False])
    assert np.isfinite(one.x).all()
    assert (one.x[1] == 0).all()
