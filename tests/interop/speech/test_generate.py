"""What Whisper says, without another library: prompts, ends, and one word at a time."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.architecture import Checkpoint
from mmjax.interop.architectures.audio import whisper
from mmjax.interop.formats import safetensors
from mmjax.interop.speech.generate import (
    DETECT,
    Decoding,
    generate,
    generated_ids,
    prompt_of,
    trimmed,
)

SIZES = {
    "model_type": "whisper",
    "vocab_size": 30,
    "num_mel_bins": 4,
    "d_model": 12,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 10,
    "decoder_layers": 2,
    "decoder_attention_heads": 3,
    "decoder_ffn_dim": 14,
    "max_source_positions": 6,
    "max_target_positions": 12,
}
END, START, NO_TIMES = 2, 3, 7
WORDS = {
    "decoder_start_token_id": START,
    "eos_token_id": END,
    "pad_token_id": 1,
    "no_timestamps_token_id": NO_TIMES,
}
SPOKEN = {"lang_to_id": {"<|en|>": 4, "<|fr|>": 5}, "task_to_id": {"transcribe": 6, "translate": 8}}
FEATURES = np.random.default_rng(1).normal(scale=3, size=(3, 4, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of random weights, with the words of a multilingual one."""
    path = tmp_path_factory.mktemp("whisper")
    random = np.random.default_rng(4)
    model, rules = whisper.model_of(SIZES, jnp.float32, "", "tied")
    example = {"input_features": jnp.zeros((1, 4, 12)), "decoder_input_ids": jnp.zeros((1, 1), int)}
    tree = jax.eval_shape(model.init, jax.random.PRNGKey(0), **example)
    shapes = {
        "/".join(key.key for key in where): leaf.shape
        for where, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    tensors = {}
    for rule in rules:
        shape = shapes[rule.ours]
        drawn = random.normal(size=shape)
        # Small biases: else one of them says the same word at every place.
        drawn *= 0.2 if len(shape) == 1 else 2 * shape[0] ** -0.5 if "kernel" in rule.ours else 1.0
        drawn = (drawn + rule.ours.endswith("scale")).astype(np.float32)
        for name, array in zip(rule.theirs, rule.save(drawn), strict=True):
            tensors[f"model.{name}"] = np.ascontiguousarray(array)
    safetensors.write(path / "model.safetensors", tensors)
    (path / "config.json").write_text(json.dumps(SIZES))
    (path / "generation_config.json").write_text(json.dumps(WORDS | SPOKEN))
    return path


@pytest.fixture(scope="module")
def model(folder):
    return interop.load(folder)


def said_word_by_word(model, features, prompt, count, barred=(), barred_first=()):
    """The whole text through the model for each further word."""
    start = len(prompt)
    ids = np.zeros((3, 12), int)  # what is not said yet is read by none
    ids[:, :start] = prompt
    for place in range(start, start + count):
        logits = np.array(model(input_features=features, decoder_input_ids=ids).logits)
        logits[:, :, [*barred, *(barred_first if place == start else ())]] = -np.inf
        ids[:, place] = logits[:, place - 1].argmax(1)
    return ids[:, start : start + count]


def test_the_cache_gives_the_ids_that_reading_everything_again_gives(model):
    given = Decoding(START, 1, (END,))
    expected = said_word_by_word(model, FEATURES, [START, 5, 6, NO_TIMES], 8)
    found = generate(model, FEATURES, language="fr", max_new_tokens=8)
    np.testing.assert_array_equal(found, trimmed(expected, given))
    assert len(np.unique(found)) > 3


def test_the_logits_of_a_step_are_those_of_the_whole(model):
    ids = jnp.array(np.random.default_rng(2).integers(3, 30, (3, 7)), jnp.int32)
    whole = model(input_features=FEATURES, decoder_input_ids=ids).logits
    module, variables = model.module, model.variables
    states = module.apply(variables, method=lambda model: model.encoder(jnp.asarray(FEATURES)))

    @jax.jit
    def step(word, place, cache):
        def run(model):
            return model.decoder.step(word, place, states["last_hidden_state"], length=9)

        return module.apply({**variables, **cache}, method=run, mutable=["cache"])

    cache = {}
    for place in range(7):
        logits, cache = step(ids[:, place : place + 1], jnp.int32(place), cache)
        np.testing.assert_allclose(logits, whole[:, place], rtol=0, atol=2e-5)


def test_barred_words_are_not_said(model, folder, tmp_path):
    said = said_word_by_word(model, FEATURES, [START, 4, 6, NO_TIMES], 6)
    often, seldom = np.argsort(np.bincount(said.ravel()))[[-1, -2]].tolist()
    barred, barred_first = [seldom, 9], [often]
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    extra = {"suppress_tokens": barred, "begin_suppress_tokens": barred_first}
    (tmp_path / "generation_config.json").write_text(json.dumps(WORDS | SPOKEN | extra))
    found = generate(interop.load(tmp_path), FEATURES, language="en", max_new_tokens=6)
    expected = said_word_by_word(model, FEATURES, [START, 4, 6, NO_TIMES], 6, barred, barred_first)
    np.testing.assert_array_equal(found, trimmed(expected, Decoding(START, 1, (END,))))
    assert not np.isin(found, barred).any()
    assert not np.isin(found[:, 0], barred_first).any()
    assert np.isin(found, barred_first).any()


def test_a_text_ends_at_the_first_of_the_ends(model, folder, tmp_path):
    said = said_word_by_word(model, FEATURES, [START, 5, 6, NO_TIMES], 8)
    end = int(said[2, 3])
    expected = trimmed(said, Decoding(START, 1, (END, end)))
    assert 0 < (expected[2] != 1).sum() < 8
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    words = WORDS | SPOKEN | {"eos_token_id": [END, end]}
    (tmp_path / "generation_config.json").write_text(json.dumps(words))
    found = generate(interop.load(tmp_path), FEATURES, language="fr", max_new_tokens=8)
    np.testing.assert_array_equal(found, expected)


def test_nothing_is_said_after_all_texts_have_ended(model):
    none, every = jnp.zeros(30, bool), jnp.ones(30, bool)
    prompt = jnp.full((3, 2), START, jnp.int32)
    x = jnp.asarray(FEATURES)
    not_zero = none.at[0].set(True)
    masks = (not_zero, none, none, every)
    said = generated_ids(model.module, model.variables, x, prompt, *masks, length=9)
    assert (said[:, :2] == START).all()
    assert (said[:, 2] != 0).all()
    assert (said[:, 3:] == 0).all()


def test_the_language_that_is_detected(model):
    logits = model(input_features=FEATURES, decoder_input_ids=np.full((3, 1), START)).logits[:, 0]
    detected = np.where(logits[:, 4] >= logits[:, 5], 4, 5)
    assert len(set(detected)) == 2
    found = generate(model, FEATURES, max_new_tokens=5)
    expected = [said_word_by_word(model, FEATURES, [START, word, NO_TIMES], 5) for word in (4, 5)]
    expected = np.where(detected[:, None] == 4, *expected)
    np.testing.assert_array_equal(found, trimmed(expected, Decoding(START, 1, (END,))))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=4))
def test_trimmed_keeps_what_is_before_each_end(rows):
    found = trimmed(np.array(rows), Decoding(START, 1, (END, 5)))
    kept = [row[: next((i for i, word in enumerate(row) if word in (END, 5)), 4)] for row in rows]
    longest = max(map(len, kept))
    assert found.tolist() == [row + [1] * (longest - len(row)) for row in kept]


MANY = Decoding(START, 1, (END,), languages=SPOKEN["lang_to_id"], tasks=SPOKEN["task_to_id"])
FORCED = MANY._replace(no_timestamps=NO_TIMES, forced=(5, 8, NO_TIMES))


@pytest.mark.parametrize(
    ("given", "language", "task", "expected"),
    [
        (MANY, None, None, [START, DETECT]),
        (MANY, "en", None, [START, 4, 6]),
        (MANY, "<|fr|>", "translate", [START, 5, 8]),
        (MANY, None, "translate", [START, DETECT, 8]),
        (FORCED, None, None, [START, 5, 8, NO_TIMES]),
        (FORCED, "en", None, [START, 4, 6, NO_TIMES]),
        (FORCED._replace(forced=(None, 6)), None, None, [START, DETECT, 6, NO_TIMES]),
        (Decoding(START, 1, (END,), no_timestamps=NO_TIMES), None, None, [START, NO_TIMES]),
        (Decoding(START, 1, (END,), forced=(None, 9)), None, None, [START, 9]),
    ],
)
def test_prompts(given, language, task, expected):
    assert prompt_of(given, language, task) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "de"}, "unknown language 'de'.*<|en|>"),
        ({"task": "sing"}, "unknown task 'sing'.*transcribe"),
        ({"language": "en", "max_new_tokens": 0}, "can generate 1 to 8"),
        ({"language": "en", "max_new_tokens": 9}, "can generate 1 to 8"),
    ],
)
def test_what_cannot_be_asked_for(model, options, message):
    with pytest.raises(UserError, match=message):
        generate(model, FEATURES, **options)


def test_a_model_of_one_language_takes_none():
    with pytest.raises(UserError, match="one language only"):
        prompt_of(MANY._replace(multilingual=False), "en", None)


def test_other_models_generate_nothing(model):
    checkpoint = Checkpoint(model.path, SIZES, {})
    encoder, _ = whisper.encoder_of(SIZES, jnp.float32, "")
    shapes = {"input_features": whisper.features(encoder)}
    architecture = interop.architecture.Architecture("whisper", encoder, [], shapes)
    alone = interop.Pretrained(checkpoint, architecture, {}, model.report)
    with pytest.raises(UserError, match="not a model that writes"):
        generate(alone, FEATURES)


def test_a_checkpoint_that_does_not_say_how_a_text_begins(folder, tmp_path):
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(UserError, match="no decoder_start_token_id"):
        generate(interop.load(tmp_path), FEATURES)
