"""Text <-> ids where the `tokenizers` library alone does not give the original's: CLIP's own file
of merges, and SentencePiece models."""

import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from mmjax.errors import UserError
from mmjax.interop.preprocess.texts.codecs import Codec, Row, Text
from mmjax.interop.preprocess.texts.guarded import unpacked
from mmjax.interop.preprocess.texts.tokenizer_files import Settings
from mmjax.interop.preprocess.texts.trained import package

_START, _END = "<start_of_text>", "<end_of_text>"
_WORDS = rf"(?i:{_START}|{_END}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+)"
_MERGES = 49152 - 256 - 2  # how many of the file's 262,145 merges CLIP uses
_SPACE = "▁"
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def of_clip_merges(path: Path) -> Codec:
    """bpe_simple_vocab_16e6.txt.gz, as open_clip and OpenAI's CLIP read it; pads with 0.

    Texts are to be cleaned first (see `mmjax.interop.preprocess.texts.trained.CLEANED`).

    Raises:
        UserError: the file cannot be read.
    """
    lines = unpacked(path).split("\n")
    merges = [tuple(line.split()) for line in lines[1 : _MERGES + 1] if line]
    letters = _byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    numbers = {word: number for number, word in enumerate([*words, _START, _END])}
    try:
        model = BPE(numbers, merges, continuing_subword_prefix="", end_of_word_suffix="</w>")
    except Exception as error:  # plain, like all of the library's
        raise UserError(f"{path}: not CLIP's merges ({' '.join(str(error).split())})") from error
    split = pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True)
    spelled = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.ByteLevel()
    start, end = numbers[_START], numbers[_END]
    known = {_START: [start], _END: [end]}

    def pieces(word: str) -> Sequence[int]:
        if word not in known:
            (spelling, _), *_ = spelled.pre_tokenize_str(word)
            known[word] = [token.id for token in model.tokenize(spelling)]
        return known[word]

    def encode(texts: Sequence[Text], limit: int | None) -> list[Row]:
        rows = []
        for text in _singles(texts, "CLIP"):
            words = split.pre_tokenize_str(text)
            ids = [number for word, _ in words for number in pieces(word)]
            ids = [start, *ids, end]
            if limit is not None and len(ids) > limit:
                ids = [*ids[: limit - 1], end]
            rows.append((ids, [0] * len(ids)))
        return rows

    def decode(ids: Sequence[int], skip_special_tokens: bool) -> str:
        kept = [i for i in ids if not (skip_special_tokens and i in (start, end))]
        return tokenizer.decode(kept, skip_special_tokens=False).replace("</w>", " ").strip()

    return Codec(encode, decode, 0, words=len(numbers))


def of_sentence_pieces(path: Path, settings: Settings) -> Codec:
    """spiece.model of SigLIP or sentencepiece.bpe.model of XLM-RoBERTa (Kudo et al. 2018).

    SigLIP lower-cases, drops ASCII punctuation and ends a text with </s> (Zhai et al. 2023).
    XLM-RoBERTa's ids are those of the file plus one, with <s> <pad> </s> <unk> as 0 to 3.

    Raises:
        UserError: the file cannot be read, the package sentencepiece is missing, or the class is
            another.
    """
    module = package("sentencepiece", path)
    if settings.kind not in ("siglip", "xlm_roberta"):
        raise UserError(
            f"{path}: a SentencePiece model of kind {settings.kind} is not supported without a"
            " tokenizer.json; save one with the tokenizer's save_pretrained"
        )
    try:
        model = module.SentencePieceProcessor(model_proto=path.read_bytes())
        model.encode("a")
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: no SentencePiece model ({error}); fetch it again") from error
    if settings.kind == "siglip":
        return _siglip(model, settings)
    return _xlm_roberta(model, settings)


def _siglip(model: Any, settings: Settings) -> Codec:
    special = {
        settings.tokens[role].content: model.piece_to_id(settings.tokens[role].content)
        for role in ("end", "pad", "unk")
    }
    lower = settings.values.get("do_lower_case", True)
    unk = settings.tokens["unk"].content
    skipped, end = len(model.encode(unk)), special[settings.tokens["end"].content]

    def tokens(text: str) -> list[str]:
        text = (text.lower() if lower else text).translate(_NO_PUNCTUATION)
        text = re.sub(r"\s+", " ", text).strip()
        # In front of a text the library would swallow the mark of a space.
        return model.encode(unk + text, out_type=str)[skipped:]

    def ids_of(text: str) -> list[int]:
        text, found = _SPACE + text.replace(_SPACE, " "), []
        for part in _split(text, special):
            found += [part] if part in special else tokens(part)
        if len(found) > 1 and found[0] == _SPACE and found[1] in special:
            found = found[1:]
        return [model.piece_to_id(token) for token in found]

    def encode(texts: Sequence[Text], limit: int | None) -> list[Row]:
        rows = [_cut(ids_of(text), limit, 1, settings) for text in _singles(texts, "SigLIP")]
        rows = [ids if ids and ids[-1] == end else [*ids, end] for ids in rows]
        return [(ids, [0] * len(ids)) for ids in rows]

    def decode(ids: Sequence[int], skip_special_tokens: bool) -> str:
        hidden = set(special.values()) if skip_special_tokens else ()
        return model.decode([i for i in ids if i not in hidden and i < model.get_piece_size()])

    pad = special[settings.tokens["pad"].content]
    return Codec(encode, decode, pad, words=model.get_piece_size())


def _xlm_roberta(model: Any, settings: Settings) -> Codec:
    order = ("start", "pad", "end", "unk")
    special = {settings.tokens[role].content: number for number, role in enumerate(order)}
    special[settings.tokens["mask"].content] = model.get_piece_size() + 1

    def ids_of(text: str) -> list[int]:
        found = []
        for part in _split(text, special):
            inner = [special[part]] if part in special else None
            # 0 is "unknown" there, and <s>, </s> have other places.
            found += inner or [number + 1 if number else 3 for number in model.encode(part)]
        return found

    def encode(texts: Sequence[Text], limit: int | None) -> list[Row]:
        rows = [_cut(ids_of(text), limit, 2, settings) for text in _singles(texts, "this file")]
        return [([0, *ids, 2], [0] * (len(ids) + 2)) for ids in rows]

    def decode(ids: Sequence[int], skip_special_tokens: bool) -> str:
        names = {number: token for token, number in special.items()}
        known = [i for i in ids if i in names or i <= model.get_piece_size()]
        kept = [i for i in known if not (skip_special_tokens and i in names)]
        return model.decode([names[i] if i in names else model.id_to_piece(i - 1) for i in kept])

    pad = special[settings.tokens["pad"].content]
    return Codec(encode, decode, pad, words=model.get_piece_size() + 1)


def _split(text: str, special: Mapping[str, int]) -> list[str]:
    names = "|".join(re.escape(token) for token in sorted(special, key=len, reverse=True))
    return [part for part in re.split(f"({names})", text) if part]


def _cut(ids: list[int], limit: int | None, special: int, settings: Settings) -> list[int]:
    if limit is None:
        return ids
    room = limit - special
    if room < 1:
        raise UserError(f"text: {limit} ids leave no room beside {special} special ones")
    return ids[:room] if settings.truncation_side == "right" else ids[-room:]


def _singles(texts: Sequence[Text], name: str) -> list[str]:
    for text in texts:
        if not isinstance(text, str):
            raise UserError(f"text: the tokenizer of {name} takes single texts, not pairs")
    return list(texts)


def _byte_letters() -> list[str]:
    """A printable letter for each byte, in the order of CLIP's ids (Radford et al. 2019, GPT-2)."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    own += range(ord("®"), ord("ÿ") + 1)
    others = 256 - len(own)
    return [chr(byte) for byte in own] + [chr(256 + place) for place in range(others)]
