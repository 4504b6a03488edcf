"""Text <-> ids by the `tokenizers` library, from each layout in which vocabularies are kept."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordPiece
from tokenizers.processors import RobertaProcessing, TemplateProcessing

from mmjax.errors import UserError
from mmjax.interop.preprocess.texts.tokenizer_files import Settings, read_json

Text = str | tuple[str, str]
Row = tuple[Sequence[int], Sequence[int]]  # the ids, and of which of two texts each is
_CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


class Codec(NamedTuple):
    """Text <-> ids.

    encode: (texts or pairs, the most ids or None) -> a row for each, not padded.
    decode: (ids, whether to skip special tokens) -> text.
    pad: the id of padding, if there is one.
    tokenizer: of the `tokenizers` library, if it is one of those.
    words: how many ids any text may give; added tokens, which few texts have, come on top.
    """

    encode: Callable[[Sequence[Text], int | None], list[Row]]
    decode: Callable[[Sequence[int], bool], str]
    pad: int | None
    tokenizer: Tokenizer | None = None
    words: int = 0


def of_json(path: Path, settings: Settings) -> Codec:
    """tokenizer.json, under the flags of tokenizer_config.json that transformers lets override it.

    Raises:
        UserError: the file is damaged.
    """
    data = dict(read_json(path))
    values = settings.values
    for part, kind, options in (
        ("normalizer", "BertNormalizer", {"do_lower_case": "lowercase"} | _same("strip_accents")),
        ("normalizer", "BertNormalizer", {"tokenize_chinese_chars": "handle_chinese_chars"}),
        ("pre_tokenizer", "ByteLevel", _same("add_prefix_space")),
    ):
        inner = data.get(part)
        if isinstance(inner, Mapping) and inner.get("type") == kind:
            given = {option: values[key] for key, option in options.items() if key in values}
            data[part] = dict(inner) | given
    try:
        tokenizer = Tokenizer.from_str(json.dumps(data))
    # The library raises plain Exception for whatever it cannot parse.
    except Exception as error:
        raise UserError(f"{path}: no tokenizer ({_line(error)}); fetch the file again") from error
    codec = _codec(tokenizer, settings, path)
    return lowered(codec) if settings.kind == "siglip2" else codec


def of_word_pieces(path: Path, settings: Settings) -> Codec:
    """vocab.txt, one word piece a line (Devlin et al. 2018, BERT).

    Raises:
        UserError: the file cannot be read, lacks a special token, or an unknown flag is set.
    """
    values = settings.values
    if settings.kind not in ("bert", "distilbert"):
        named = values.get("tokenizer_class")
        raise UserError(f"{path}: only BERT's word pieces are kept so, and the class is {named!r}")
    if not isinstance(values.get("strip_accents"), bool | None):
        raise UserError(f"{path}: strip_accents must be true or false in tokenizer_config.json")
    if values.get("do_basic_tokenize") is False or values.get("never_split"):
        raise UserError(f"{path}: do_basic_tokenize, never_split are not supported: remove them")
    words = {word: number for number, word in enumerate(_lines(path))}
    _needs(words, settings, ("unk", "start", "end"), path)
    tokenizer = Tokenizer(WordPiece(words, unk_token=settings.tokens["unk"].content))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(values.get("tokenize_chinese_chars", True)),
        strip_accents=values.get("strip_accents"),
        lowercase=bool(values.get("do_lower_case", True)),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    start, end = (settings.tokens[role].content for role in ("start", "end"))
    tokenizer.post_processor = TemplateProcessing(
        single=f"{start}:0 $A:0 {end}:0",
        pair=f"{start}:0 $A:0 {end}:0 $B:1 {end}:1",
        special_tokens=[(start, words[start]), (end, words[end])],
    )
    return _codec(tokenizer, settings, path)


def of_merges(path: Path, settings: Settings) -> Codec:
    """vocab.json with merges.txt beside it: byte-level BPE of CLIP, RoBERTa, GPT-2, Whisper.

    Raises:
        UserError: a file cannot be read, they do not fit, or lack a special token.
    """
    words, kind, values = dict(read_json(path)), settings.kind, settings.values
    lines = _lines(path.with_name("merges.txt"))
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    needed = {"clip": ("unk", "start", "end"), "roberta": ("start", "end")}
    if kind not in ("clip", "roberta", "gpt2", "whisper"):
        raise UserError(f"{path}: merges are not how a tokenizer of kind {kind} is kept")
    _needs(words, settings, needed.get(kind, ()), path)
    options = {}
    if kind == "clip":
        options = {"end_of_word_suffix": "</w>", "unk_token": settings.tokens["unk"].content}
    try:
        tokenizer = Tokenizer(BPE(words, merges, continuing_subword_prefix="", **options))
    except Exception as error:  # plain, like all of the library's
        raise UserError(f"{path} does not fit merges.txt beside it ({_line(error)})") from error
    spaced = bool(values.get("add_prefix_space", False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    tokenizer.decoder = decoders.ByteLevel()
    if kind == "clip":
        tokenizer.normalizer = normalizers.Sequence(
            [
                normalizers.NFC(),
                normalizers.Replace(Regex(r"\s+"), " "),
                normalizers.Lowercase(),
            ]
        )
        split = pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True)
        parts = [split, pre_tokenizers.ByteLevel(add_prefix_space=False)]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    if kind in needed:
        start, end = (settings.tokens[role].content for role in ("start", "end"))
        tokenizer.post_processor = RobertaProcessing(
            (end, words[end]), (start, words[start]), trim_offsets=False, add_prefix_space=False
        )
    return _codec(tokenizer, settings, path)


def _codec(tokenizer: Tokenizer, settings: Settings, path: Path) -> Codec:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for number, token in sorted(settings.added.items()):
        tokenizer.add_tokens([token])
        if tokenizer.token_to_id(token.content) != number:
            raise UserError(
                f"{path}: {token.content!r} has the id {tokenizer.token_to_id(token.content)}, but"
                f" {number} in tokenizer_config.json or added_tokens.json"
            )
    known = [t for t in settings.tokens.values() if tokenizer.token_to_id(t.content) is not None]
    had = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    tokenizer.add_special_tokens([token for token in known if token.content not in had])
    for token in settings.further:
        if tokenizer.token_to_id(token) is None:
            raise UserError(
                f"{path}: the vocabulary lacks {token!r}, a special token of its settings"
            )
        if token not in had:
            tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)])
    _templates(tokenizer, settings, path)

    def encode(texts: Sequence[Text], limit: int | None) -> list[Row]:
        if limit is None:
            tokenizer.no_truncation()
        else:
            pairs = any(isinstance(text, tuple) for text in texts)
            special = tokenizer.num_special_tokens_to_add(pairs)
            if limit <= special:
                raise UserError(f"text: {limit} ids leave no room beside {special} special ones")
            tokenizer.enable_truncation(limit, direction=settings.truncation_side)
        return [(row.ids, row.type_ids) for row in tokenizer.encode_batch(list(texts))]

    def decode(ids: Sequence[int], skip_special_tokens: bool) -> str:
        text = tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text.replace("</w>", " ").strip() if settings.kind == "clip" else text

    pad = settings.tokens.get("pad")
    number = tokenizer.token_to_id(pad.content) if pad else None
    size = tokenizer.get_vocab_size(with_added_tokens=False)
    return Codec(encode, decode, number, tokenizer, size)


def _templates(tokenizer: Tokenizer, settings: Settings, path: Path) -> None:
    """The special tokens around a text, where tokenizer_config.json says them and not the file."""
    values, end = settings.values, settings.tokens.get("end", AddedToken("", special=True)).content
    if settings.kind == "whisper":
        before, after = _whisper_prompt(values, path), [end]
        pair = [*before, "$A:0", "$B:1", *after]
    # A tokenizer.json says itself what surrounds a text; these flags are then without effect.
    elif settings.kind == "gpt2" and path.name == "vocab.json":
        start = settings.tokens.get("start")
        before = [start.content] if values.get("add_bos_token") and start else []
        after = [end] if values.get("add_eos_token") and end else []
        second = [*(f"{token}:1" for token in before), "$B:1", *(f"{token}:1" for token in after)]
        pair = [*before, "$A:0", *after, *second]
    else:
        return
    ids = {token: tokenizer.token_to_id(token) for token in (*before, *after)}
    for token, number in ids.items():
        if number is None:
            raise UserError(f"{path}: the vocabulary lacks {token!r}, which surrounds a text")
    tokenizer.post_processor = TemplateProcessing(
        single=[*before, "$A:0", *after], pair=pair, special_tokens=list(ids.items())
    )


def _whisper_prompt(values: Mapping[str, Any], path: Path) -> list[str]:
    """What Whisper's decoder starts with (Radford et al. 2022): language, task, timestamps."""
    before = ["<|startoftranscript|>"]
    if language := values.get("language"):
        if not isinstance(language, str) or len(language) > 3:
            raise UserError(f"{path}: language must be a code such as 'en', not {language!r}")
        before.append(f"<|{language}|>")
    if task := values.get("task"):
        before.append(f"<|{task}|>")
    return before if values.get("predict_timestamps") else [*before, "<|notimestamps|>"]


def _needs(words: Mapping[str, Any], settings: Settings, roles: Sequence[str], path: Path) -> None:
    for role in roles:
        if settings.tokens[role].content not in words:
            raise UserError(f"{path}: the vocabulary lacks {settings.tokens[role].content!r}")


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch the file again") from error
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _same(name: str) -> dict[str, str]:
    return {name: name}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def lowered(codec: Codec) -> Codec:
    """Texts are lower-cased first; special tokens in them are not."""
    if codec.tokenizer is None:
        raise UserError(
            "do_lower_case: only for tokenizers of a tokenizer.json, or of vocabularies"
        )
    given = codec.tokenizer.normalizer
    steps = [normalizers.Lowercase(), *([given] if given else [])]
    codec.tokenizer.normalizer = normalizers.Sequence(steps)
    return codec
