"""Whisper against transformers: drawn shapes, all outputs, gradients, and back."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.speech.generate import generate
from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCABULARY = 40
NO_CACHE = {"use_cache": False}  # else transformers returns it
SMALL = {
    "vocab_size": VOCABULARY,
    "num_mel_bins": 5,
    "d_model": 12,
    "encoder_layers": 2,
    "encoder_attention_heads": 3,
    "encoder_ffn_dim": 20,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 18,
    "max_source_positions": 7,
    "max_target_positions": 9,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 2,
    "decoder_start_token_id": 3,
}


@st.composite
def configs(draw):
    """Halves of different heads, depths and widths of the mlp."""
    width = draw(st.sampled_from([6, 12, 20, 30]))
    heads = [count for count in (1, 2, 3, 5) if width % count == 0]
    config = {**SMALL, "d_model": width}
    for half in ("encoder", "decoder"):
        config[f"{half}_attention_heads"] = draw(st.sampled_from(heads))
        config[f"{half}_layers"] = draw(st.integers(1, 3))
        config[f"{half}_ffn_dim"] = draw(st.integers(5, 50))
    return config | {
        "activation_function": draw(st.sampled_from(["gelu", "gelu_new", "relu"])),
        "scale_embedding": draw(st.booleans()),  # of no effect in transformers
        "num_mel_bins": draw(st.integers(1, 9)),
        "max_source_positions": draw(st.integers(1, 12)),
        "max_target_positions": draw(st.integers(1, 12)),
    }


def drawn_model(config, name="WhisperForConditionalGeneration", **extra):
    theirs = getattr(transformers, name)(transformers.WhisperConfig(**config, **extra))
    return published.randomise(torch, theirs)


def spectrograms(config, rows=3, seed=0):
    size = (rows, config["num_mel_bins"], 2 * config["max_source_positions"])
    return torch.tensor(np.random.default_rng(seed).normal(size=size)).float()


def words(length, rows=3, seed=0):
    ids = np.random.default_rng(seed).integers(4, VOCABULARY, (rows, length))
    return torch.tensor(ids)


def right_padded(length):
    """The second text is short."""
    ends = np.array([length, max(1, length // 2), length])
    return torch.tensor((np.arange(length) < ends[:, None]).astype(int))


@pytest.mark.parametrize("name", ["WhisperModel", "WhisperForConditionalGeneration"])
@published.DRAWN
@given(config=configs(), data=st.data())
def test_whisper_of_any_shape_equals_transformers_and_returns(name, config, data, tmp_path_factory):
    length = data.draw(st.integers(1, config["max_target_positions"]))
    inputs = {"input_features": spectrograms(config), "decoder_input_ids": words(length)}
    if data.draw(st.booleans()):
        inputs["decoder_attention_mask"] = right_padded(length)
    theirs = drawn_model(config, name)
    folder = tmp_path_factory.mktemp("whisper")
    published.check(torch, theirs, inputs, folder, extra=NO_CACHE)


def test_padding_on_the_left_is_read_by_none(tmp_path):
    ids, mask = words(6), torch.ones(3, 6, dtype=torch.long)
    mask[0, :2], mask[1, :5] = 0, 0
    places = (mask.cumsum(1) - 1).clamp(min=0)
    inputs = {"input_features": spectrograms(SMALL), "decoder_input_ids": ids}
    inputs |= {"decoder_attention_mask": mask, "decoder_position_ids": places}
    theirs = drawn_model(SMALL)
    theirs.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = theirs(**inputs).logits.numpy()
    found = np.asarray(interop.load(tmp_path)(**published.as_arrays(inputs)).logits)
    real = mask.numpy().astype(bool)
    published.assert_close(found[real], expected[real])
    assert np.isfinite(found).all()


def test_a_matrix_of_its_own_gives_the_logits_if_config_says_so(tmp_path):
    theirs = drawn_model(SMALL, tie_word_embeddings=False)
    assert theirs.proj_out.weight is not theirs.model.decoder.embed_tokens.weight
    inputs = {"input_features": spectrograms(SMALL), "decoder_input_ids": words(4)}
    published.check(torch, theirs, inputs, tmp_path, extra=NO_CACHE)


def test_old_files_that_repeat_the_table(tmp_path):
    theirs = drawn_model(SMALL)
    theirs.config.save_pretrained(tmp_path)
    weights = theirs.state_dict()
    assert "proj_out.weight" in weights
    torch.save(weights, tmp_path / "pytorch_model.bin")
    inputs = {"input_features": spectrograms(SMALL), "decoder_input_ids": words(4)}
    with torch.no_grad():
        expected = theirs(**inputs).logits.numpy()
    model = interop.load(tmp_path)
    assert model.report.buffers == ["proj_out.weight"]
    published.assert_close(model(**published.as_arrays(inputs)).logits, expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_encoder_with_a_classifier(weighted, tmp_path):
    extra = {"use_weighted_layer_sum": weighted, "classifier_proj_size": 7, "num_labels": 4}
    theirs = drawn_model(SMALL, "WhisperForAudioClassification", **extra)
    published.check(torch, theirs, {"input_features": spectrograms(SMALL)}, tmp_path)


def test_the_encoder_alone(tmp_path):
    module = transformers.models.whisper.modeling_whisper.WhisperEncoder
    theirs = published.randomise(torch, module(transformers.WhisperConfig(**SMALL)))
    published.check(torch, theirs, {"input_features": spectrograms(SMALL)}, tmp_path)


def test_a_shorter_recording_has_the_first_positions(tmp_path):
    theirs = drawn_model(SMALL)
    theirs.save_pretrained(tmp_path)
    x = spectrograms(SMALL)[..., :9]
    encoder = theirs.model.encoder
    with torch.no_grad():
        kept = encoder.embed_positions.weight[:5].clone()
        hidden = torch.nn.functional.gelu(encoder.conv1(x))
        hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1) + kept
        for layer in encoder.layers:
            hidden = layer(hidden, None)
        expected = encoder.layer_norm(hidden).numpy()
    model = interop.load(tmp_path)
    published.assert_close(model(input_features=x.numpy()).encoder_last_hidden_state, expected)
    part = model.architecture.parts["audio"]
    found = part.module.apply({"params": model.params[part.path]}, jnp.asarray(x.numpy()))
    published.assert_close(found["last_hidden_state"], expected)


def test_gradients_equal_those_of_torch(tmp_path):
    theirs = drawn_model(SMALL)
    theirs.model.encoder.embed_positions.requires_grad_(True)
    inputs = {"input_features": spectrograms(SMALL), "decoder_input_ids": words(5)}
    model = published.check(torch, theirs, inputs, tmp_path, extra=NO_CACHE)
    (theirs(**inputs).logits ** 2).sum().backward()
    given_inputs = {name: jnp.asarray(x.numpy()) for name, x in inputs.items()}
    given_inputs["decoder_input_ids"] = given_inputs["decoder_input_ids"].astype(jnp.int32)
    found = published.gradients(model, given_inputs, lambda out: jnp.sum(out["logits"] ** 2))
    expected = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    published.assert_close(found, expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoder_attention_heads": 5},
        {"decoder_attention_heads": 5},
        {"activation_function": "mish"},
        {"d_model": 24},
        {"num_mel_bins": 6},
        {"decoder_layers": 3},
        {"max_target_positions": 8},
        {"vocab_size": "40"},
        {"tie_word_embeddings": "no"},
    ],
)
def test_a_config_that_is_not_of_the_file_is_refused_in_one_line(wrong, tmp_path):
    drawn_model(SMALL).save_pretrained(tmp_path)
    assert str(tmp_path) in published.refused(tmp_path, wrong)


def test_too_long_inputs_are_refused(tmp_path):
    drawn_model(SMALL).save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    x = spectrograms(SMALL).numpy()
    with pytest.raises(UserError, match="5 bins of 15 frames, but the model takes 5 of at most 14"):
        model(input_features=np.zeros((1, 5, 15), np.float32))
    with pytest.raises(UserError, match="10 words, but the model takes 9"):
        model(input_features=x, decoder_input_ids=words(10).numpy())


NO_TIMES = VOCABULARY - 1  # transformers takes the words after it for times
SPOKEN = {
    "lang_to_id": {"<|en|>": 4, "<|fr|>": 5, "<|de|>": 6},
    "task_to_id": {"transcribe": 7, "translate": 8},
    "no_timestamps_token_id": NO_TIMES,
    "is_multilingual": True,
}
SAID = {
    "nothing but a start": ({}, {}),
    "what is heard": (SPOKEN, {}),
    "a language": (SPOKEN, {"language": "fr"}),
    "a task": (SPOKEN, {"task": "translate"}),
    "both": (SPOKEN, {"language": "<|de|>", "task": "translate"}),
    "forced": (SPOKEN | {"forced_decoder_ids": [[1, 6], [2, 8]]}, {}),
    "forced but for the language": (SPOKEN | {"forced_decoder_ids": [[1, None], [2, 8]]}, {}),
    "forced and asked": (SPOKEN | {"forced_decoder_ids": [[1, 6], [2, 8]]}, {"language": "en"}),
    "one language": ({"no_timestamps_token_id": NO_TIMES, "is_multilingual": False}, {}),
    "never said": ({"suppress_tokens": [11, 20, 31], "begin_suppress_tokens": [2, 17, 22]}, {}),
    "a short one": ({"max_length": 5}, {}),
}


def said_by_both(theirs, x, asked, folder):
    """The words of both, which are equal."""
    theirs.save_pretrained(folder)
    expected = theirs.generate(x, num_beams=1, do_sample=False, **asked).numpy()
    found = generate(interop.load(folder), x.numpy(), **asked)
    np.testing.assert_array_equal(found, expected)
    return found


@pytest.mark.parametrize("case", SAID)
def test_the_words_are_those_of_transformers(case, tmp_path):
    given, asked = SAID[case]
    seed = list(SAID).index(case)
    config = SMALL | {"max_source_positions": 5 + seed, "max_target_positions": 24}
    config |= {"d_model": 12 * (1 + seed % 3), "decoder_layers": 1 + seed % 2}
    model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**config))
    theirs = published.randomise(torch, model, seed)
    for name, value in ({"max_length": 16} | given).items():
        setattr(theirs.generation_config, name, value)
    x = 3 * spectrograms(config, rows=1 + seed % 4, seed=seed)
    assert said_by_both(theirs, x, asked, tmp_path).shape[1] == theirs.generation_config.max_length


def test_texts_end_where_those_of_transformers_end(tmp_path):
    theirs = drawn_model(SMALL | {"max_target_positions": 24, "d_model": 24})
    theirs.generation_config.max_length = 16
    x = 3 * spectrograms(SMALL, rows=4)
    said = said_by_both(theirs, x, {}, tmp_path)
    # The word that the texts come to last.
    end = max(set(said.ravel()), key=lambda word: np.argmax((said == word).any(axis=0)))
    theirs.generation_config.eos_token_id = theirs.config.eos_token_id = int(end)
    ended = said_by_both(theirs, x, {}, tmp_path)
    assert (ended == 1).any()
    assert (ended != 1).any()
