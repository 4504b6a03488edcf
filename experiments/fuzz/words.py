"""Small tokenizers in every layout that mmjax reads, damaged."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.fuzz import damage

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<pad>", "<unk>", "<mask>"]
WHISPER = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
CLIP = ["<|startoftext|>", "<|endoftext|>"]
WORDS = [*SPECIAL, *WHISPER, *CLIP, "a", "cat", "##s", "▁a", "Ġcat", "b</w>"]
TEXTS = ["a cat", "Cats é \U0001f600", ""]
KEYS = [
    *("tokenizer_class", "pad_token", "unk_token", "cls_token", "sep_token", "bos_token"),
    *("eos_token", "model_max_length", "padding_side", "truncation_side", "do_lower_case"),
    *("strip_accents", "added_tokens_decoder", "model_input_names", "add_prefix_space", "language"),
    *("add_bos_token", "add_eos_token", "task", "max_seq_length"),
]


def _json_tokenizers() -> list[dict[str, Any]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    ids = {word: number for number, word in enumerate(WORDS)}
    made = [
        Tokenizer(models.WordLevel(ids, unk_token="[UNK]")),
        Tokenizer(models.WordPiece(ids, unk_token="[UNK]")),
        Tokenizer(models.BPE({**ids, "c": 90, "ca": 91, "t": 92}, [("c", "a")])),
        Tokenizer(models.Unigram([(word, -1.0) for word in WORDS], unk_id=1)),
    ]
    for tokenizer, split in zip(
        made,
        (
            pre_tokenizers.Whitespace(),
            pre_tokenizers.BertPreTokenizer(),
            pre_tokenizers.ByteLevel(),
            pre_tokenizers.Metaspace(),
        ),
        strict=True,
    ):
        tokenizer.pre_tokenizer = split
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 5), ("</s>", 6)]
        )
        tokenizer.add_special_tokens(["<extra>"])
    return [json.loads(tokenizer.to_str()) for tokenizer in made]


def _sentence_pieces() -> bytes:
    import sentencepiece

    file = __import__("io").BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a cat sat here", "the cats are there"] * 20),
        model_writer=file,
        vocab_size=30,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    return file.getvalue()


def layouts() -> list[dict[str, Any]]:
    """The files of each layout: tables as values, the rest as bytes."""
    ids = {word: number for number, word in enumerate(WORDS)}
    pieces = _sentence_pieces()
    merges = b"#version: 0.2\nc a\nca t\n"
    letters = {letter: 100 + number for number, letter in enumerate("catsb")}
    spelled = {**ids, **letters, "ca": 110, "cat": 111}
    clip = gzip.compress(b"#v\n" + b"".join(f"{chr(97 + i % 26)} b\n".encode() for i in range(200)))
    found = [
        {"tokenizer.json": table, "tokenizer_config.json": {"tokenizer_class": kind}}
        for table in _json_tokenizers()
        for kind in ("PreTrainedTokenizerFast", "BertTokenizer", "WhisperTokenizer")
    ]
    found += [
        {"vocab.txt": "\n".join(WORDS).encode(), "tokenizer_config.json": {"do_lower_case": 1}},
        *(
            {
                "vocab.json": spelled,
                "merges.txt": merges,
                "tokenizer_config.json": {"tokenizer_class": kind},
            }
            for kind in ("CLIPTokenizer", "RobertaTokenizer", "GPT2Tokenizer", "WhisperTokenizer")
        ),
        {"spiece.model": pieces, "tokenizer_config.json": {"tokenizer_class": "SiglipTokenizer"}},
        {"sentencepiece.bpe.model": pieces, "tokenizer_config.json": {"pad_token": "<pad>"}},
        {"bpe_simple_vocab_16e6.txt.gz": clip},
    ]
    for files in found:
        files.setdefault("special_tokens_map.json", {"pad_token": "[PAD]", "unk_token": "[UNK]"})
        files.setdefault("added_tokens.json", {})
        files.setdefault("sentence_bert_config.json", {"max_seq_length": 8})
        files.setdefault("config", {"model_type": "bert"})
    return found


def tokenizers(drawn: Callable[..., random.Random], _folder: Path) -> Callable:
    """A folder with one or two damaged files, and what it makes of three texts."""
    from mmjax.interop.preprocess.texts.processor import text_processor

    made = layouts()
    binary = [value for files in made for value in files.values() if isinstance(value, bytes)]

    def attempt(number: int, seed: int, folder: Path) -> None:
        draw = drawn("tokenizers", number, seed)
        files = dict(draw.choice(made))
        config = files.pop("config") if draw.random() < 0.5 else {}
        place = folder / "tokenizer"
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        hit = draw.sample(sorted(files), draw.randint(1, 2))
        for name, value in files.items():
            if isinstance(value, bytes):
                text = damage.bytes_of(value, draw, binary) if name in hit else value
            else:
                plain = json.dumps(value).encode()
                text = damage.table_of(value, draw, KEYS) if name in hit else plain
            (place / name).write_bytes(text)
        processor = text_processor(place, config)
        arrays = processor(TEXTS, padding=draw.choice([None, "longest", "max_length"]))
        if "input_ids" in arrays:
            processor.decode(arrays["input_ids"][0])
        processor.decode([0, 1, 10**6])

    return attempt
