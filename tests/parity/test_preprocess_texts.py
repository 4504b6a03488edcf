"""Ids of texts against transformers and open_clip: equal. The tokenizers are trained here."""

import json
import shutil

import numpy as np
import pytest
import tokenizers
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mmjax.interop.preprocess.texts.processor import text_processor
from tests.parity import gemma_tokenizer

transformers = pytest.importorskip("transformers")

CORPUS = [
    "A photo of a cat, isn't it? They've seen 12 cats and 345 dogs.",
    "Ein Foto einer Katze über den Dächern; l'été à Besançon.",
    "猫の写真です。 fotografía de niños y niñas 🐈🐕 naïve façade",
    "the quick brown fox jumps over the lazy dog while it's raining in Zürich",
] * 8
ODD = ["", " ", "\n\t", "🐈‍⬛ and 👩‍👩‍👧", "İstanbul ǅ ß ﬁ", "e\u0301té", "a" * 300, "cat " * 200]
ODD += ["<unk> </s> cat", "[SEP] [MASK] cat[CLS]", "<|endoftext|>cat <mask>", "\u200b\u00ad\ufeffx"]
ODD += ["“quotes” & &amp;lt; “it\u2019s”", "\u2581cat", "a\x00b\x07c", "I'LL SAY 'S"]
WORDS = st.sampled_from(
    ["A", "cat,", "isn't", "", "über", "12", "猫", "🐈", "é", *ODD[3:8], *ODD[-9:-3]]
)
CACHE = {}  # tokenizers that take long to make
# Which letters are letters depends on the version of Unicode, for those not yet assigned in ours.
LETTERS = st.characters(exclude_categories=("Cs", "Cn"))
TEXTS = st.one_of(st.text(LETTERS, max_size=40), st.lists(WORDS, max_size=8).map(" ".join))
drawn = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def train(folder, kind):
    """Writes the vocabulary files of one kind of tokenizer, and its tokenizer_config.json."""
    config = {"model_max_length": 32}
    if kind == "bert":
        own = tokenizers.BertWordPieceTokenizer()
        own.train_from_iterator(CORPUS, vocab_size=220, show_progress=False)
        config |= {"tokenizer_class": "BertTokenizer"}
    elif kind == "clip":
        words = transformers.CLIPTokenizer()._tokenizer
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=700,
            end_of_word_suffix="</w>",
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<|startoftext|>", "<|endoftext|>"],
            show_progress=False,
        )
        model = tokenizers.models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>")
        trained = tokenizers.Tokenizer(model)
        trained.normalizer, trained.pre_tokenizer = words.normalizer, words.pre_tokenizer
        trained.train_from_iterator(CORPUS, trainer)
        # The letters that end a word, of which the trainer keeps only those it met.
        data = json.loads(trained.to_str())["model"]
        vocabulary = data["vocab"]
        for letter in sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()):
            vocabulary.setdefault(letter + "</w>", len(vocabulary))
        own = tokenizers.Tokenizer(
            tokenizers.models.BPE(vocabulary, [tuple(m) for m in data["merges"]])
        )
        config |= {"tokenizer_class": "CLIPTokenizer", "pad_token": "<|endoftext|>"}
    else:
        own = tokenizers.ByteLevelBPETokenizer()
        roberta = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        special = roberta if kind == "roberta" else ["<|endoftext|>"]
        own.train_from_iterator(CORPUS, 400, special_tokens=special, show_progress=False)
        name = {"roberta": "Roberta", "gpt2": "GPT2", "whisper": "Whisper"}[kind]
        config |= {"tokenizer_class": f"{name}Tokenizer"}
        config |= {} if kind == "roberta" else {"pad_token": "<|endoftext|>"}
        if kind == "whisper":
            size = own.get_vocab_size()
            extra = ["<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>"]
            extra += ["<|startofprev|>", "<|notimestamps|>"]
            times = [f"<|{0.02 * i:.2f}|>" for i in range(60)]
            flags = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
            config["added_tokens_decoder"] = {
                str(size + i): {"content": token, "special": i < len(extra), **flags}
                for i, token in enumerate(extra + times)
            }
            config["additional_special_tokens"] = extra
    getattr(own, "save_model", getattr(own, "model", own).save)(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module", params=["bert", "clip", "roberta", "gpt2", "whisper"])
def layouts(request, tmp_path_factory):
    """A tokenizer of transformers; ours from its vocabulary files and from its tokenizer.json."""
    folder = train(tmp_path_factory.mktemp(request.param), request.param)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    saved = tmp_path_factory.mktemp("saved")
    theirs.save_pretrained(saved)
    for name in ("vocab.txt", "vocab.json", "merges.txt"):
        (saved / name).unlink(missing_ok=True)
    return theirs, [text_processor(folder, {}), text_processor(saved, {})]


def compare(theirs, ours, texts, **options):
    sides = list(zip(*texts, strict=True)) if isinstance(texts[0], tuple) else [texts]
    options = {"padding": "longest", "truncation": True} | options
    expected = theirs(*map(list, sides), return_tensors="np", **options)
    actual = ours(texts, **options)
    assert set(actual) == set(expected)
    for key, value in actual.items():
        assert value.dtype == np.int32
        np.testing.assert_array_equal(value, expected[key], err_msg=f"{key} of {texts!r}")


@drawn
@example(ODD)
@example(CORPUS[:4])
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_texts(layouts, texts):
    theirs, both = layouts
    for ours in both:
        compare(theirs, ours, texts)


@settings(drawn, max_examples=15)
@example([(a, b) for a, b in zip(ODD, CORPUS * 9, strict=False)])
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
def test_pairs(layouts, pairs):
    theirs, both = layouts
    for ours in both:
        compare(theirs, ours, pairs)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "max_length"},
        {"padding": "max_length", "max_length": 9},
        {"max_length": 6},
        {"truncation": False},
    ],
)
def test_options(layouts, options):
    theirs, both = layouts
    for ours in both:
        compare(theirs, ours, CORPUS[:3] + ODD[:3], **options)


@drawn
@given(st.lists(st.integers(0, 500) | st.integers(406, 466), max_size=30))
def test_decoding(layouts, ids):
    theirs, both = layouts
    for ours in both:
        for skip in (True, False):
            options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": False}
            assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(ids, **options)
            if ours.settings.kind == "whisper":
                timed = theirs.decode(ids, decode_with_timestamps=True, **options)
                assert ours.decode(ids, skip_special_tokens=skip, timestamps=True) == timed


@pytest.mark.parametrize(
    "flags",
    [
        {"do_lower_case": False},
        {"strip_accents": False},
        {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False},
        {"padding_side": "left", "truncation_side": "left"},
        {"model_input_names": ["input_ids", "attention_mask"]},
    ],
)
def test_flags_of_bert(flags, tmp_path):
    train(tmp_path, "bert")
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | flags))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    compare(theirs, text_processor(tmp_path, {}), CORPUS[:3] + ODD)


@pytest.mark.parametrize(
    "flags", [{"language": "en", "task": "translate"}, {"predict_timestamps": True}]
)
def test_prompts_of_whisper(flags, tmp_path):
    train(tmp_path, "whisper")
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | flags))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    compare(theirs, text_processor(tmp_path, {}), CORPUS[:3])


@settings(drawn, max_examples=150)
@example(ODD)
@example(CORPUS[:4])
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_open_clip(tmp_path_factory, texts):
    open_clip = pytest.importorskip("open_clip")
    if "open_clip" not in CACHE:
        folder, merges = tmp_path_factory.mktemp("open_clip"), open_clip.tokenizer.default_bpe()
        shutil.copy(merges, folder)
        CACHE["open_clip"] = text_processor(folder, {})
    out = CACHE["open_clip"](texts)
    expected = open_clip.tokenize(texts).numpy()
    np.testing.assert_array_equal(out["input_ids"], expected, err_msg=repr(texts))
    ends = (expected == 49407).argmax(1)
    assert (out["attention_mask"].sum(1) >= ends + 1).all()


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "corpus.txt").write_text("\n".join(CORPUS).lower() + "\n" + "\n".join(CORPUS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "corpus.txt"),
        model_prefix=str(folder / "spiece"),
        vocab_size=150,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder


@drawn
@example(ODD)
@example(CORPUS[:4])
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_siglip(pieces, texts):
    if "siglip" not in CACHE:
        CACHE["siglip"] = (
            transformers.SiglipTokenizer.from_pretrained(pieces),
            text_processor(pieces, {}),
        )
    theirs, ours = CACHE["siglip"]
    compare(theirs, ours, texts, padding="max_length")
    assert ours(texts)["input_ids"].shape == (len(texts), 64)


@settings(drawn, max_examples=30)
@example(ODD)
@example(CORPUS[:4])
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_xlm_roberta(pieces, tmp_path_factory, texts):
    """Against sentencepiece itself, under the offsets of fairseq."""
    sentencepiece = pytest.importorskip("sentencepiece")
    if "xlm" not in CACHE:
        folder = tmp_path_factory.mktemp("xlm")
        (folder / "sentencepiece.bpe.model").write_bytes((pieces / "spiece.model").read_bytes())
        CACHE["xlm"] = text_processor(folder, {"model_type": "xlm-roberta"})
    model = sentencepiece.SentencePieceProcessor(model_file=str(pieces / "spiece.model"))
    texts = [text.replace("<", "(") for text in texts]
    out = CACHE["xlm"](texts)
    for row, mask, text in zip(out["input_ids"], out["attention_mask"], texts, strict=True):
        pieces_of = [3 if i == 0 else i + 1 for i in model.encode(text)]
        assert row[mask == 1].tolist() == [0, *pieces_of, 2]
        assert (row[mask == 0] == 1).all()


def test_xlm_roberta_of_transformers(pieces, tmp_path):
    (tmp_path / "sentencepiece.bpe.model").write_bytes((pieces / "spiece.model").read_bytes())
    theirs = transformers.XLMRobertaTokenizer.from_pretrained(tmp_path)
    compare(theirs, text_processor(tmp_path, {}), [*CORPUS[:4], "a<mask> cat</s>"])


@settings(drawn, max_examples=30)
@example([text for text in ODD if text])
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_siglip2(tmp_path_factory, texts):
    if "siglip2" not in CACHE:
        folder = tmp_path_factory.mktemp("siglip2")
        gemma_tokenizer.write(folder, [text.lower() for text in CORPUS], 500)
        config = {"tokenizer_class": "GemmaTokenizer", "model_max_length": 16}
        config |= {"add_bos_token": False, "add_eos_token": True, "pad_token": "<pad>"}
        config |= {"eos_token": "<eos>", "bos_token": "<bos>", "padding_side": "right"}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        (folder / "config.json").write_text(json.dumps({"model_type": "siglip2"}))
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        assert type(theirs).__name__ == "Siglip2Tokenizer"
        CACHE["siglip2"] = theirs, text_processor(folder, {"model_type": "siglip2"})
    theirs, ours = CACHE["siglip2"]
    compare(theirs, ours, texts, padding="max_length")
