"""Texts for pretrained models, from vocabularies of a few words; every mistake in one line."""

import gzip
import json

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

from mmjax.errors import UserError
from mmjax.interop.preprocess.texts.processor import text_processor

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "##s", "dog", "é", "猫", "."]
PAD, UNK, CLS, SEP, A, CAT, S, DOG = range(8)
START, END = "<|startoftranscript|>", "<|endoftext|>"
TASKS = [START, "<|en|>", "<|transcribe|>", "<|startofprev|>", "<|notimestamps|>"]


def write(folder, **files):
    """Writes files by name ("__" for the dot); what is no text, as JSON."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def bert(tmp_path):
    return write(tmp_path, vocab__txt="\n".join(WORDS) + "\n")


@pytest.fixture
def whisper(tmp_path):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: number for number, letter in enumerate([*letters, "hi", END])}
    added = {token: len(words) + place for place, token in enumerate(TASKS)}
    times = {f"<|{0.02 * i:.2f}|>": len(words) + len(TASKS) + i for i in range(1501)}
    return write(
        tmp_path,
        vocab__json=words,
        merges__txt="#version: 0.2\nh i\n",
        added_tokens__json=added | times,
        tokenizer_config__json={"tokenizer_class": "WhisperTokenizer"},
    )


def test_word_pieces(bert):
    process = text_processor(bert, {})
    out = process(["A cats", "Dog. zebra"])
    np.testing.assert_array_equal(
        out["input_ids"], [[CLS, A, CAT, S, SEP], [CLS, DOG, 10, UNK, SEP]]
    )
    assert set(out) == {"input_ids", "token_type_ids", "attention_mask"}
    assert {value.dtype for value in out.values()} == {np.dtype(np.int32)}
    out = process([("a", "cat"), ("", "a a")])
    np.testing.assert_array_equal(
        out["input_ids"], [[CLS, A, SEP, CAT, SEP], [CLS, SEP, A, A, SEP]]
    )
    np.testing.assert_array_equal(out["token_type_ids"], [[0, 0, 0, 1, 1], [0, 0, 1, 1, 1]])
    assert process.decode([CLS, A], skip_special_tokens=False) == "[CLS] a"


@pytest.mark.parametrize(
    ("flags", "text", "ids"),
    [
        ({}, "É A猫a", [UNK, A, 9, A]),
        ({"strip_accents": False}, "É", [8]),
        ({"do_lower_case": False}, "A é", [UNK, 8]),
        ({"tokenize_chinese_chars": False}, "a猫a", [UNK]),
        ({}, "[SEP] a", [SEP, A]),
    ],
)
def test_flags_of_word_pieces(bert, flags, text, ids):
    write(bert, tokenizer_config__json=flags)
    out = text_processor(bert, {})([text])
    assert out["input_ids"].tolist() == [[CLS, *ids, SEP]]


def test_padding_and_truncation(bert):
    process = text_processor(bert, {})
    texts = ["a a a a", "cat"]
    out = process(texts, padding="max_length", max_length=5)
    np.testing.assert_array_equal(out["input_ids"], [[CLS, A, A, A, SEP], [CLS, CAT, SEP, 0, 0]])
    np.testing.assert_array_equal(out["attention_mask"], [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    assert process(texts)["input_ids"].shape == (2, 6)
    config = {"model_max_length": 4, "padding_side": "left", "truncation_side": "left"}
    write(bert, tokenizer_config__json=config)
    process = text_processor(bert, {})
    out = process(["cat a dog", "a"])
    np.testing.assert_array_equal(out["input_ids"], [[CLS, A, DOG, SEP], [0, CLS, A, SEP]])
    np.testing.assert_array_equal(out["attention_mask"], [[1, 1, 1, 1], [0, 1, 1, 1]])
    assert process(["cat a dog"], truncation=False)["input_ids"].shape == (1, 5)


def test_a_row_does_not_depend_on_the_others(bert):
    process = text_processor(bert, {})
    texts = ["a", "", "cats. dog", "a" * 500]
    out = process(texts)
    for row, mask, text in zip(out["input_ids"], out["attention_mask"], texts, strict=True):
        np.testing.assert_array_equal(row[mask == 1], process([text])["input_ids"][0])


def test_sentence_transformers(bert):
    write(bert, sentence_bert_config__json={"max_seq_length": 3, "do_lower_case": True})
    write(bert, tokenizer_config__json={"do_lower_case": False, "model_max_length": 512})
    out = text_processor(bert, {})(["  A cat "])
    assert out["input_ids"].tolist() == [[CLS, A, SEP]]


def test_tokenizer_json_comes_first_and_what_is_baked_in_it_does_not_count(bert):
    own = Tokenizer(WordLevel({"x": 0, "?": 1, "<pad>": 2}, unk_token="?"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    own.enable_padding(length=9)
    own.enable_truncation(1)
    own.save(str(bert / "tokenizer.json"))
    write(bert, special_tokens_map__json={"pad_token": {"content": "<pad>", "lstrip": True}})
    out = text_processor(bert, {})(["x y x", "x"])
    np.testing.assert_array_equal(out["input_ids"], [[0, 1, 0], [0, 2, 2]])
    np.testing.assert_array_equal(out["attention_mask"], [[1, 1, 1], [1, 0, 0]])


def test_clip_and_roberta(tmp_path):
    letters = ["c", "a", "t", "t</w>", "ca", "cat</w>", "Ġ", "<s>", "</s>", "<|startoftext|>", END]
    words = {word: number for number, word in enumerate(letters)}
    write(tmp_path, vocab__json=words, merges__txt="#version: 0.2\nc a\nca t</w>\n")
    out = text_processor(tmp_path, {})(["CAT  cat", "cat"])
    np.testing.assert_array_equal(out["input_ids"], [[9, 5, 5, 10], [9, 5, 10, 10]])
    np.testing.assert_array_equal(out["attention_mask"], [[1, 1, 1, 1], [1, 1, 1, 0]])
    assert text_processor(tmp_path, {}).decode([9, 5, 5, 10]) == "cat cat"
    write(tmp_path, tokenizer_config__json={"tokenizer_class": "RobertaTokenizerFast"})
    process = text_processor(tmp_path, {})
    assert process([("ca", "a a")])["input_ids"].tolist() == [[7, 4, 8, 8, 1, 6, 1, 8]]
    write(tmp_path, sentence_roberta_config__json={})  # which strips
    assert text_processor(tmp_path, {})([" ca "])["input_ids"].tolist() == [[7, 4, 8]]
    with pytest.raises(UserError, match="no pad_token"):
        process(["ca", "a a"])


def test_whisper_prompt_and_text(whisper):
    process = text_processor(whisper, {})
    (row,) = process(["hi"])["input_ids"]
    expected = f"{START}<|notimestamps|>hi{END}"
    assert process.decode(row, skip_special_tokens=False) == expected
    assert process.decode(row) == "hi"
    config = {"tokenizer_class": "WhisperTokenizer", "language": "en", "task": "transcribe"}
    write(whisper, tokenizer_config__json=config | {"predict_timestamps": True})
    process = text_processor(whisper, {})
    (row,) = process(["hi"])["input_ids"]
    expected = f"{START}<|en|><|transcribe|>hi{END}"
    assert process.decode(row, skip_special_tokens=False) == expected


@pytest.mark.parametrize(
    ("times", "written"),
    [
        ([(0, 1.5), (1.5, 3)], [(0, 1.5), (1.5, 3)]),
        # A window of 30 s ended within a sentence: the next one's times start at 30 s.
        ([(0, 29), (0, 2)], [(0, 29), (30, 32)]),
    ],
)
def test_whisper_timestamps(whisper, times, written):
    process = text_processor(whisper, {})
    (row,) = process(["hi"])["input_ids"]
    hi, last = row[2], row[1]
    ids = [row[0]]
    for place, (start, end) in enumerate(times):
        between = [last + 1 + round(start / 0.02)]
        single = place > 0 and start < times[place - 1][1]
        ids += [*([] if single else between), hi, last + 1 + round(end / 0.02)]
        if single:
            written = [written[0], (None, written[1][1])]
    text = "".join(
        ("" if start is None else f"<|{start:.2f}|>") + f"hi<|{end:.2f}|>" for start, end in written
    )
    assert process.decode(ids, timestamps=True) == text
    assert process.decode(ids) == "hi" * len(times)


def test_whisper_leaves_out_a_prompt(whisper):
    process = text_processor(whisper, {})
    (row,) = process(["hi"])["input_ids"]
    before = process.codec.tokenizer.token_to_id("<|startofprev|>")
    ids = [before, row[2], *row]
    assert process.decode(ids) == "hi"
    assert process.decode(ids, skip_special_tokens=False).startswith("<|startofprev|>hi")
    assert process.decode([before, row[2]]) == ""


def test_the_merges_of_clip(tmp_path):
    pytest.importorskip("ftfy")
    merges = "by: hand\nc a\nca t</w>\n"
    (tmp_path / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress(merges.encode()))
    process = text_processor(tmp_path, {"model_cfg": {"text_cfg": {"context_length": 6}}})
    out = process(["  CAT &amp;amp; cat", "", "cat " * 9])
    start, end = 514, 515  # 256 letters, 256 at the end of a word, two merges
    cat, ampersand = 513, 256 + ord("&") - ord("!")
    np.testing.assert_array_equal(
        out["input_ids"],
        [[start, cat, ampersand, cat, end, 0], [start, end, *[0] * 4], [start, *[cat] * 4, end]],
    )
    np.testing.assert_array_equal(out["attention_mask"].sum(1), [5, 2, 6])
    assert process.decode(out["input_ids"][0][:5]) == "cat & cat"


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "corpus.txt").write_text("a cat and a dog and a bird\n" * 20)
    options = {"vocab_size": 20, "hard_vocab_limit": False, "minloglevel": 2}
    trainer.train(input=str(folder / "corpus.txt"), model_prefix=str(folder / "spiece"), **options)
    return folder


def test_siglip_drops_case_and_punctuation_and_fills_up_with_ends(pieces):
    process = text_processor(pieces, {})
    out = process(["A CAT, and a dog!", "a cat and   a dog", "bird " * 99])
    assert out["input_ids"].shape == (3, 64)
    np.testing.assert_array_equal(out["input_ids"][0], out["input_ids"][1])
    count = out["attention_mask"].sum(1)
    assert (out["input_ids"][0, count[0] - 1 :] == 2).all()
    assert count[2] == 64
    assert out["input_ids"][2, 63] == 2
    assert process.decode(out["input_ids"][0]) == "a cat and a dog"
    with pytest.raises(UserError, match="not pairs"):
        process([("a", "b")])


BAD_FILES = [
    ({}, "no tokenizer: expected one of tokenizer.json"),
    ({"vocab__txt": "[PAD]\na\n"}, "lacks '\\[UNK\\]'"),
    ({"vocab__txt": "[PAD]\n[UNK]\na\n"}, "lacks '\\[CLS\\]'"),
    ({"tokenizer__json": "{"}, "tokenizer.json: cannot be read"),
    ({"tokenizer__json": {"model": 3}}, "no tokenizer"),
    ({"vocab__json": [1]}, "expected an object"),
    ({"vocab__json": {"a": 0}}, "merges.txt: cannot be read"),
    ({"vocab__json": {"a": 0}, "merges__txt": "b c\n"}, "does not fit merges.txt"),
    ({"vocab__json": {"a": 0}, "merges__txt": "b c d\n"}, "does not fit merges.txt"),
    ({"vocab__json": {"a": "x"}, "merges__txt": ""}, "does not fit merges.txt"),
    ({"spiece__model": "no model"}, "no SentencePiece model"),
]
BAD_SETTINGS = [
    ({"padding_side": "up"}, "padding_side must be left or right"),
    ({"model_max_length": "9"}, "model_max_length must be a number"),
    ({"model_max_length": 0}, "must be positive"),
    ({"pad_token": 3}, "special token cannot be 3"),
    ({"never_split": ["a"]}, "never_split"),
    ({"tokenizer_class": "MPNetTokenizer"}, "the class is 'MPNetTokenizer'"),
    ({"strip_accents": 1}, "strip_accents"),
    ({"added_tokens_decoder": {"x": {"content": "y"}}}, "id of an added token"),
    ({"added_tokens_decoder": {"90": {"content": "new"}}}, "has the id 11, but 90"),
]


@pytest.mark.parametrize(("files", "part"), BAD_FILES)
def test_damaged_and_missing_files(tmp_path, files, part):
    if "spiece__model" in files:
        pytest.importorskip("sentencepiece")
    write(tmp_path, **files)
    with pytest.raises(UserError, match=part) as caught:
        text_processor(tmp_path, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("values", "part"), BAD_SETTINGS)
def test_settings_that_are_not_understood(bert, values, part):
    write(bert, tokenizer_config__json=values)
    with pytest.raises(UserError, match=part):
        text_processor(bert, {})


@pytest.mark.parametrize(
    ("texts", "options", "part"),
    [
        ("a cat", {}, "list of texts"),
        ([], {}, "empty"),
        ([3], {}, "not 3"),
        ([("a", "b", "c")], {}, "pair of strings"),
        (["a", ("a", "b")], {}, "pass them apart"),
        (["\ud800"], {}, "Unicode"),
        (["a"], {"padding": "max_length"}, "needs max_length"),
        (["a"], {"padding": "all"}, "longest or max_length"),
        (["a"], {"max_length": 0}, "must be positive"),
        (["a"], {"max_length": 2}, "no room beside 2"),
        (["a a a"], {"max_length": 3, "padding": "max_length", "truncation": False}, "5 ids"),
    ],
)
def test_what_is_not_a_text(bert, texts, options, part):
    with pytest.raises(UserError, match=part) as caught:
        text_processor(bert, {})(texts, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("ids", "part"), [([[1]], "integers"), ([0.5], "integers"), ([-1], "neg")])
def test_what_cannot_be_decoded(bert, ids, part):
    with pytest.raises(UserError, match=part):
        text_processor(bert, {}).decode(ids)
    with pytest.raises(UserError, match="only the tokenizer of Whisper"):
        text_processor(bert, {}).decode([A], timestamps=True)
