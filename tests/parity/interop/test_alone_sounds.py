"""A sound's embedding is that of the sound alone, in every architecture, and its library's."""

import json

import numpy as np
import pytest
import soundfile

import mmjax
from mmjax.errors import UserError
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
audio_utils = pytest.importorskip("transformers.audio_utils")
safetensors = pytest.importorskip("safetensors.torch")

from tests.parity.interop.test_ast import SMALL  # noqa: E402
from tests.parity.interop.test_clap import AUDIO, TEXT  # noqa: E402
from tests.parity.interop.test_speech import Silero, Speaker  # noqa: E402
from tests.parity.interop.test_transcripts import SPEECH  # noqa: E402

RATE = 16_000
SECONDS = (0.7, 0.026, 0.31, 2.9)  # the second hardly a window


def sounds(rate):
    generator = np.random.default_rng(0)
    swept = [np.sin(np.arange(round(s * rate)) * (i + 1) ** 2 / 90) for i, s in enumerate(SECONDS)]
    return [(0.3 * x + 0.05 * generator.normal(size=len(x))).astype(np.float32) for x in swept]


def transformed(theirs, extractor, folder, embed, **changes):
    """Writes a model of transformers and its extractor; returns what it gives for a sound alone."""
    theirs = published.randomise(torch, theirs)
    theirs.save_pretrained(folder)
    extractor.save_pretrained(folder)
    file = folder / "preprocessor_config.json"
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: x for key, x in values.items() if x is not None}))

    def alone(x):
        inputs = extractor([x], sampling_rate=extractor.sampling_rate, return_tensors="pt")
        if "is_longer" in inputs:  # which the extractor says of one sound in each batch
            longer = len(x) > extractor.nb_max_samples
            inputs["is_longer"] = torch.full_like(torch.as_tensor(inputs["is_longer"]), longer)
        with torch.no_grad():
            return np.asarray(embed(theirs, inputs))[0]

    return folder, alone, extractor.sampling_rate


def wav2vec2(folder, norm, masked, **changes):
    config = transformers.Wav2Vec2Config(**SPEECH, feat_extract_norm=norm)
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=masked)

    def embed(theirs, inputs):
        return theirs(**inputs).last_hidden_state.mean(1)

    return transformed(transformers.Wav2Vec2Model(config), extractor, folder, embed, **changes)


def ast(folder):
    config = transformers.ASTConfig(**SMALL | {"max_length": 60})
    extractor = transformers.ASTFeatureExtractor(num_mel_bins=7, max_length=60)
    return transformed(
        transformers.ASTModel(config), extractor, folder, lambda t, x: t(**x).pooler_output
    )


def clap(folder, truncation):
    fused = {"enable_fusion": truncation == "fusion"}
    config = transformers.ClapConfig(text_config=TEXT, audio_config=AUDIO | fused)
    extractor = transformers.ClapFeatureExtractor(
        feature_size=16, hop_length=1600, max_length_s=2, truncation=truncation
    )

    def embed(theirs, inputs):
        features = theirs.get_audio_features(**inputs)
        return getattr(features, "pooler_output", features)

    return transformed(transformers.ClapModel(config), extractor, folder, embed)


def whisper(folder):
    config = transformers.WhisperConfig(**published.WHISPER, vocab_size=20, d_model=12)
    extractor = transformers.WhisperFeatureExtractor(
        feature_size=6, chunk_length=1, return_attention_mask=True
    )

    def embed(theirs, inputs):
        return theirs.model.encoder(inputs["input_features"]).last_hidden_state.mean(1)

    theirs = transformers.WhisperForConditionalGeneration(config)
    return transformed(theirs, extractor, folder, embed)


def silero(folder):
    theirs = published.randomise(torch, Silero())
    safetensors.save_file(theirs.state_dict(), folder / "it.safetensors")

    def alone(x):
        with torch.no_grad():
            return theirs(torch.tensor(x)[None])["last_hidden_state"].mean(1)[0].numpy()

    return folder / "it.safetensors", alone, RATE


def resemblyzer(folder):
    """The mean over parts of 1.6 s every 0.77 s, as embed_utterance has it."""
    theirs = published.randomise(torch, Speaker(10, 6, 2, 32))
    torch.save({"model_state": theirs.state_dict()}, folder / "it.pt")
    filters = audio_utils.mel_filter_bank(
        201, 10, 0.0, 8000.0, RATE, norm="slaney", mel_scale="slaney"
    )

    def alone(x):
        frames, starts = int(np.ceil((len(x) + 1) / 160)), [0]
        while starts[-1] + 77 < frames - 160 + 77 + 1:
            starts.append(starts[-1] + 77)
        if len(starts) > 1 and (len(x) - starts[-1] * 160) / 25_600 < 0.75:
            starts = starts[:-1]
        x = np.pad(x, (0, max(0, (starts[-1] + 160) * 160 - len(x))))
        mels = audio_utils.spectrogram(
            x.astype(np.float64),
            audio_utils.window_function(400, "hann"),
            frame_length=400,
            hop_length=160,
            power=2.0,
            pad_mode="constant",
            mel_filters=filters,
        ).T
        parts = np.stack([mels[start : start + 160] for start in starts]).astype(np.float32)
        with torch.no_grad():
            return theirs(torch.tensor(parts))["pooler_output"].numpy().mean(0)

    return folder / "it.pt", alone, RATE


ARCHITECTURES = {
    "wav2vec2 with statistics of all frames": lambda f: wav2vec2(f, "group", False),
    "wav2vec2 without a class": lambda f: wav2vec2(f, "group", True, feature_extractor_type=None),
    "wav2vec2 with a mask": lambda f: wav2vec2(f, "layer", True),
    "ast": ast,
    "clap": lambda f: clap(f, "rand_trunc"),
    "clap with fusion": lambda f: clap(f, "fusion"),
    "whisper": whisper,
    "silero": silero,
    "resemblyzer": resemblyzer,
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_sound_is_embedded_as_if_alone(name, tmp_path):
    path, reference, rate = ARCHITECTURES[name](tmp_path)
    model, values = mmjax.load(path), sounds(rate)
    alone = np.concatenate([model.embed(audio=x)["audio"] for x in values])
    assert np.isfinite(alone).all()
    # What is longer than a CLAP hears is cut where its draws fall, so only the others compare.
    known = values[:3] if name.startswith("clap") else values
    for x, row in zip(known, alone, strict=False):
        expected = reference(x)
        cosine = row @ expected / np.linalg.norm(expected)
        assert cosine > published.COSINE
    together = model.embed(audio=values)["audio"]
    np.testing.assert_allclose(together, alone, atol=2e-5)
    turned = model.embed(audio=values[::-1])["audio"][::-1]
    np.testing.assert_allclose(turned, alone, atol=2e-5)
    # The sounds differ, so that a row of a neighbour would be seen; of the silence that fills the
    # first three for Resemblyzer, a small LSTM keeps nothing.
    cosines = (together @ together.T)[np.triu_indices(4, 1)]
    assert (cosines.min() if name == "resemblyzer" else cosines.max()) < 0.99999


def test_the_sound_that_cannot_be_read_is_named(tmp_path):
    path, _, _ = wav2vec2(tmp_path, "layer", True)
    model, (sound, *_) = mmjax.load(path, batch_size=1), sounds(RATE)
    broken = sound.copy()
    broken[7] = np.inf
    soundfile.write(tmp_path / "nan.wav", np.full(800, np.nan, np.float32), RATE, subtype="FLOAT")
    for value, said in (
        (broken, r"audio\[1\] has NaN or infinite samples"),
        (tmp_path / "nan.wav", r"nan.wav has NaN or infinite samples"),
        (sound[:399], r"audio\[1\]: 399 samples at 16000 Hz are shorter than one window of 400"),
        (sound[:0], r"audio\[1\]: no samples"),
        (tmp_path / "none.wav", "none.wav cannot be read: no such file"),
    ):
        with pytest.raises(UserError, match=said) as error:
            model.embed(audio=[sound, value])
        assert "\n" not in str(error.value)


def test_a_file_of_another_extractor_is_refused(tmp_path):
    path, _, _ = wav2vec2(tmp_path, "group", False, feature_extractor_type="ASTFeatureExtractor")
    with pytest.raises(
        UserError, match="is of ASTFeatureExtractor, but a model of the architecture wav"
    ):
        mmjax.load(path).embed(audio=sounds(RATE)[0])
