"""Ids of texts as models of SigLIP's kind were trained, against transformers and open_clip."""

import json
import shutil

import numpy as np
import pytest
import tokenizers

from mmjax.interop.preprocess.texts.processor import text_processor
from tests.parity import gemma_tokenizer

transformers = pytest.importorskip("transformers")

CORPUS = ["A photo of a cat, isn't it?", "the quick brown fox jumps over 12 dogs", "Zürich in snow"]
TEXTS = [
    "A Photo of a CAT.",
    "PARIS",
    "",
    "  two   dogs -- and an_owl &amp; more!",
    "fox " * 40,
    "<eos> fox",
]
LENGTH = 16
CONFIG = {"model_max_length": 64, "add_bos_token": False, "add_eos_token": True}
CONFIG |= {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
CONFIG |= {"padding_side": "right", "do_lower_case": True, "model_input_names": ["input_ids"]}
TYPES = [
    {"model_type": "siglip", "text_config": {"max_position_embeddings": LENGTH}},
    {"model_type": "siglip2", "text_config": {"max_position_embeddings": LENGTH}},
    {"model_type": "siglip_text_model", "max_position_embeddings": LENGTH},
    {"model_type": "siglip2_text_model", "max_position_embeddings": LENGTH},
]


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    """A folder with a byte-level fallback BPE as Gemma's, with capitals and marks of its own."""
    folder = tmp_path_factory.mktemp("gemma")
    gemma_tokenizer.write(folder, [*CORPUS, *map(str.lower, CORPUS)], 420)
    return folder


def folder_of(gemma, place, name):
    shutil.copytree(gemma, place)
    named = {} if name is None else {"tokenizer_class": name}
    (place / "tokenizer_config.json").write_text(json.dumps(CONFIG | named))
    return place


@pytest.mark.parametrize("name", ["GemmaTokenizer", "GemmaTokenizerFast", None])
def test_siglip_2_under_any_type_and_class(gemma, tmp_path, name):
    """The class of the tokenizer is Gemma's or none; the ids are Siglip2Tokenizer's."""
    folder = folder_of(gemma, tmp_path / "it", name)
    right = transformers.Siglip2Tokenizer.from_pretrained(
        folder_of(gemma, tmp_path / "right", "Siglip2Tokenizer")
    )
    ids = right(TEXTS, padding="max_length", max_length=LENGTH, truncation=True)["input_ids"]
    for config in TYPES:
        found = text_processor(folder, config)
        assert found.fixed
        out = found(TEXTS)
        assert set(out) == {"input_ids"}
        np.testing.assert_array_equal(out["input_ids"], ids, err_msg=str(config))
        for text, row in zip(TEXTS, ids, strict=True):
            np.testing.assert_array_equal(found([text])["input_ids"], [row])
    # big_vision's files have no config: its model says how long texts are.
    found = text_processor(folder, {}, architecture="big_vision", longest=LENGTH)(TEXTS)
    np.testing.assert_array_equal(found["input_ids"], ids)


def test_siglip_by_its_type(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "corpus.txt").write_text("\n".join([*CORPUS, *map(str.lower, CORPUS)] * 8))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "corpus.txt"),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    right = transformers.SiglipTokenizer.from_pretrained(tmp_path)
    options = {"padding": "max_length", "max_length": LENGTH, "truncation": True}
    ids = right(TEXTS, **options)["input_ids"]
    for named in ({}, {"tokenizer_class": "SiglipTokenizer"}, {"tokenizer_class": "T5Tokenizer"}):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
        for config in (TYPES[0], TYPES[2]):
            out = text_processor(tmp_path, config)(TEXTS)
            np.testing.assert_array_equal(out["input_ids"], ids)


@pytest.mark.parametrize(
    "kwargs", [{"clean": "canonicalize"}, {"clean": "lower"}, {}, {"strip_sep_token": True}]
)
def test_tokenizers_of_open_clip(gemma, tmp_path, kwargs):
    open_clip = pytest.importorskip("open_clip")
    folder = folder_of(gemma, tmp_path / "it", "GemmaTokenizer")
    if kwargs.get("strip_sep_token"):
        file = folder / "tokenizer_config.json"
        file.write_text(
            json.dumps(CONFIG | {"tokenizer_class": "GemmaTokenizer", "sep_token": "<eos>"})
        )
    text = {"context_length": LENGTH, "hf_tokenizer_name": "any", "tokenizer_kwargs": kwargs}
    config = {"model_cfg": {"embed_dim": 4, "vision_cfg": {}, "text_cfg": text}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    right = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS).numpy()
    out = text_processor(folder, config)
    np.testing.assert_array_equal(out(TEXTS)["input_ids"], right)
    # Beside a config.json of transformers, too, where the model is open_clip's.
    other = text_processor(folder, {"model_type": "clip"}, architecture="open_clip")
    np.testing.assert_array_equal(other(TEXTS)["input_ids"], right)
    assert not out.fixed
    text["no_causal_mask"] = True
    assert set(text_processor(folder, config)(TEXTS)) == {"input_ids"}


def test_its_own_tokenizer_is_open_clips_though_clips_stands_beside(tmp_path):
    open_clip = pytest.importorskip("open_clip")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    words.save(str(tmp_path / "tokenizer.json"))
    shutil.copy(open_clip.tokenizer.default_bpe(), tmp_path)
    text = {"context_length": LENGTH, "tokenizer_kwargs": {"clean": "whitespace"}}
    config = {"model_cfg": {"text_cfg": text}}
    right = open_clip.SimpleTokenizer(context_length=LENGTH, clean="whitespace")
    texts = [text for text in TEXTS if text.islower() or not text]
    out = text_processor(tmp_path, config)(texts)
    np.testing.assert_array_equal(out["input_ids"], right(texts).numpy())
