"""A text gives the same vector alone and in any batch, as its model was trained to read it."""

import json
import logging
import shutil

import numpy as np
import pytest

import mmjax
from mmjax import interop
from mmjax.errors import UserError
from mmjax.factory.checkpoints.pretrained import encode_texts
from mmjax.interop.preprocess.images.processor import image_processor
from mmjax.interop.preprocess.sounds.processor import sound_processor
from mmjax.interop.preprocess.texts.processor import text_processor
from mmjax.interop.preprocess.texts.reading_texts import text_reader
from tests.interop import text_fakes
from tests.interop.text_fakes import ARCHITECTURES, FIXED, LENGTH

TEXTS = ["owl", "two dogs in the snow", "the owl", "a photo and the owl in the snow and two dogs"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """By architecture: made when it is first asked for."""
    made = {}

    def folder(name):
        if name not in made:
            place = tmp_path_factory.mktemp("models") / name
            if name == "sentence_transformers":
                made[name] = text_fakes.write_sentences(place)
            else:
                # A side of padding that would move the places of words, where padding is not seen.
                side = {} if name in FIXED else {"padding_side": "left"}
                made[name] = text_fakes.write(place, name, **side)
        return made[name]

    return folder


@pytest.mark.parametrize("name", [*ARCHITECTURES, "sentence_transformers"])
def test_a_text_is_read_alike_alone_and_in_any_batch(folders, name, caplog):
    if name.startswith("open_clip"):
        pytest.importorskip("ftfy")
    model = mmjax.load(folders(name))
    with caplog.at_level(logging.WARNING):
        together = model.embed(text=TEXTS)["text"]
    # The longest is cut to what the model takes, and that is said.
    assert caplog.text.count(f"a text has more than {LENGTH} ids: only {LENGTH} are used") == 1
    assert np.abs(together @ together.T - np.eye(len(TEXTS))).max() > 1e-3
    backwards = model.embed(text=TEXTS[::-1])["text"][::-1]
    np.testing.assert_allclose(backwards, together, atol=1e-5)
    alone = model.embed(text=TEXTS[0])["text"][0]
    np.testing.assert_allclose(alone, together[0], atol=1e-5)
    reader = text_reader(model.model.path, model.model.config, model.model.architecture)
    ids = reader(TEXTS)["input_ids"]
    assert ids.shape == (len(TEXTS), LENGTH)
    full = name in FIXED or name == "open_clip"
    assert reader(TEXTS[:1])["input_ids"].shape[1] == (LENGTH if full else 3)


@pytest.mark.parametrize("name", FIXED)
def test_siglip_reads_lower_case_at_one_length_in_training_too(folders, name):
    if name.startswith("open_clip"):
        pytest.importorskip("ftfy")
    checkpoint = interop.open_checkpoint(folders(name))
    ids, mask = encode_texts(checkpoint, LENGTH)(["Paris", "paris", "", "PARIS  "])
    np.testing.assert_array_equal(ids[0], ids[1])
    np.testing.assert_array_equal(ids[0, :2], ids[3, :2])
    assert mask[:2].all(), "the model sees padding"
    assert not mask[2].any(), "a missing text"
    with pytest.raises(UserError, match=f"text_length=5: this model reads texts of {LENGTH} ids"):
        encode_texts(checkpoint, 5)


def test_punctuation_goes_where_the_model_was_trained_without_it(folders):
    pytest.importorskip("ftfy")
    for name, gone in (("siglip", True), ("open_clip_siglip2", True), ("siglip2_fixed", False)):
        model = interop.load(folders(name))
        found = text_reader(model.path, model.config, model.architecture)(["Owl, the!", "owl the"])
        assert np.array_equal(*found["input_ids"]) == gone


def test_words_that_the_model_lacks(tmp_path):
    """Added tokens fail where they occur; a larger vocabulary fails at once."""
    folder = text_fakes.write(tmp_path / "it", "bert")
    file = folder / "tokenizer_config.json"
    token = {"content": "<ent>", "special": False}
    given = json.loads(file.read_text())
    size = text_fakes.tokenizer("[CLS]", "[SEP]", "[PAD]").get_vocab_size()
    many = [f"w{i}" for i in range(text_fakes.VOCABULARY - size)]
    whole = text_fakes.tokenizer("[CLS]", "[SEP]", "[PAD]", (*text_fakes.WORDS, *many))
    whole.save(str(folder / "tokenizer.json"))
    added = {"added_tokens_decoder": {str(text_fakes.VOCABULARY): token}}
    file.write_text(json.dumps(given | added))
    model = mmjax.load(folder)
    assert model.embed(text="the owl")["text"].shape == (1, 8)
    with pytest.raises(UserError, match="'the <ent> owl': '<ent>' has the id 24, but .* 0 to 23"):
        model.embed(text=["the owl", "the <ent> owl"])
    file.write_text(json.dumps(given))
    whole = text_fakes.tokenizer("[CLS]", "[SEP]", "[PAD]", (*text_fakes.WORDS, *many, "more"))
    whole.save(str(folder / "tokenizer.json"))
    with pytest.raises(UserError, match="gives ids up to 24, but the model's words are 0 to 23"):
        mmjax.load(folder).embed(text="the owl")


UNKNOWN = [
    ("tokenizer_config.json", {"do_squash": True}),
    ("tokenizer_config.json", {"padding_sid": "left"}),
    ("special_tokens_map.json", {"pad_tokens": "[PAD]"}),
    ("sentence_bert_config.json", {"max_sequence_length": 5}),
    ("sentence_bert_config.json", {"query_length": 5}),
    ("sentence_bert_config.json", {"tokenizer_args": {"model_max_length": 5}}),
    ("config_sentence_transformers.json", {"prompt": {"query": "q: "}}),
    ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}),
    ("config_sentence_transformers.json", {"default_prompt_name": "query"}),
    ("config_sentence_transformers.json", {"prompts": ["query: "]}),
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return interop.load(text_fakes.write_sentences(tmp_path_factory.mktemp("known") / "it"))


@pytest.mark.parametrize(("file", "entry"), UNKNOWN)
def test_an_entry_that_is_not_understood_is_refused(bert, tmp_path, file, entry):
    folder = shutil.copytree(bert.path, tmp_path / "it")
    place = folder / file
    given = json.loads(place.read_text()) if place.exists() else {}
    place.write_text(json.dumps(given | dict.fromkeys(entry)))
    text_reader(folder, bert.config, bert.architecture)  # null is not set
    place.write_text(json.dumps(given | entry))
    with pytest.raises(UserError, match=next(iter(entry))) as caught:
        text_reader(folder, bert.config, bert.architecture)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokenizer_kwargs": {"clean": "none"}}, "clean='none': choose one of canonicalize"),
        ({"tokenizer_kwargs": {"reduction_mask": "simple"}}, "reduction_mask"),
        ({"tokenizer_mode": "clips"}, "tokenizer_mode='clips'"),
        ({"context_length": 2}, "context_length must be a number over 2"),
    ],
)
def test_open_clip_refuses_what_it_does_not_know_of_texts(change, said, tmp_path):
    config = text_fakes.open_clip(text_fakes.SIGLIP_CFG | change)
    with pytest.raises(UserError, match=said):
        text_processor(tmp_path, config, architecture="open_clip")


@pytest.mark.parametrize(
    ("make", "known"),
    [
        (image_processor, {"image_processor_type": "CLIPImageProcessor"}),
        (image_processor, {"pretrained_cfg": {"input_size": [3, 8, 8], "url": "it", "notes": []}}),
        (image_processor, {"preprocess_cfg": {"size": 8}}),
        (image_processor, {"resize_size": 8}),
        (sound_processor, {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}),
        (sound_processor, {"feature_extractor_type": "WhisperFeatureExtractor"}),
        (sound_processor, {"feature_extractor_type": "ASTFeatureExtractor"}),
        (sound_processor, {"feature_extractor_type": "ClapFeatureExtractor"}),
    ],
)
def test_so_is_one_of_pictures_and_of_sounds(make, known):
    make(known)
    nested = [key for key in known if isinstance(known[key], dict)]
    wrong = {nested[0]: {**known[nested[0]], "squash": 2}} if nested else {"squash": 2}
    with pytest.raises(UserError, match="unknown .*squash"):
        make(known | wrong)
