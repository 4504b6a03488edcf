"""What lies beside a checkpoint about its tokenizer: special tokens, sides, lengths, its class."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken

from mmjax.errors import UserError
from mmjax.interop.preprocess.options import TOKENIZER_READ, TOKENIZER_SILENT, refuse_unknown

_IDS, _TYPES, _MASK = "input_ids", "token_type_ids", "attention_mask"
UNLIMITED = 10**20  # a model_max_length above this is how transformers writes "none"


class Kind(NamedTuple):
    """What a class of tokenizers takes for what the files leave out.

    tokens: the special tokens by their role: pad, unk, start, end, mask.
    outputs: which arrays it gives.
    side: where padding goes.
    length: the most ids of a text. None: as many as it has.
    full: whether models of this class were trained with texts padded to `length`, and see padding.
    """

    tokens: Mapping[str, str] = {}
    outputs: tuple[str, ...] = (_IDS, _MASK)
    side: str = "right"
    length: int | None = None
    full: bool = False


_BERT = {"pad": "[PAD]", "unk": "[UNK]", "start": "[CLS]", "end": "[SEP]", "mask": "[MASK]"}
_ROBERTA = {"pad": "<pad>", "unk": "<unk>", "start": "<s>", "end": "</s>", "mask": "<mask>"}
_GPT2 = {"unk": "<|endoftext|>", "start": "<|endoftext|>", "end": "<|endoftext|>"}
_CLIP = {"pad": "<|endoftext|>", "start": "<|startoftext|>", "end": "<|endoftext|>"}
KINDS: Mapping[str, Kind] = {
    "any": Kind(outputs=(_IDS, _TYPES, _MASK)),
    "bert": Kind(_BERT, (_IDS, _TYPES, _MASK)),
    "clip": Kind(_CLIP | {"unk": "<|endoftext|>"}),
    "distilbert": Kind(_BERT),
    "gpt2": Kind(_GPT2),
    "roberta": Kind(_ROBERTA),
    "siglip": Kind({"pad": "</s>", "unk": "<unk>", "end": "</s>"}, length=64, full=True),
    "siglip2": Kind(
        {"pad": "<pad>", "unk": "<unk>", "start": "<bos>", "end": "<eos>", "mask": "<mask>"},
        side="left",
        full=True,
    ),
    "whisper": Kind(_GPT2),
    "xlm_roberta": Kind(_ROBERTA),
}
# The names of the roles in the files; BERT's kin call start and end "cls" and "sep".
_ROLES = {
    "pad": ("pad_token",),
    "unk": ("unk_token",),
    "start": ("cls_token", "bos_token"),
    "end": ("sep_token", "eos_token"),
    "mask": ("mask_token",),
}
_CLASSES = {
    "BertTokenizer": "bert",
    "CLIPTokenizer": "clip",
    "DistilBertTokenizer": "distilbert",
    "GPT2Tokenizer": "gpt2",
    "RobertaTokenizer": "roberta",
    "Siglip2Tokenizer": "siglip2",
    "SiglipTokenizer": "siglip",
    "WhisperTokenizer": "whisper",
    "XLMRobertaTokenizer": "xlm_roberta",
}
# What SigLIP and SigLIP 2 call their classes where they are those of another model.
_SIGLIP_CLASSES = {"GemmaTokenizer": "siglip2", "T5Tokenizer": "siglip"}
_MODELS = {
    **{kind: kind for kind in KINDS},
    "camembert": "xlm_roberta",
    "chinese_clip": "bert",
    "clap": "roberta",
    "clap_text_model": "roberta",
    "clip_text_model": "clip",
    "siglip2_text_model": "siglip2",
    "siglip_text_model": "siglip",
    "xlm-roberta": "xlm_roberta",
}


class Settings(NamedTuple):
    """What the files say.

    kind: a name in KINDS.
    tokens: role -> token; each says how it takes the spaces around it.
    added: id -> token, for those that the vocabulary leaves out or treats specially.
    further: special tokens of no role, by their text.
    outputs, side, length, full: as of `Kind`.
    truncation_side: which end is cut off.
    values: tokenizer_config.json, for what only one kind needs.
    """

    kind: str
    tokens: Mapping[str, AddedToken]
    added: Mapping[int, AddedToken]
    outputs: tuple[str, ...]
    side: str
    truncation_side: str
    length: int | None
    full: bool
    values: Mapping[str, Any]
    further: tuple[str, ...] = ()


def read_json(path: Path) -> Mapping[str, Any]:
    """The object in a JSON file; {} if there is no such file.

    Raises:
        UserError: it cannot be read, or is no object.
    """
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch the file again") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected an object, found {type(value).__name__}")
    return value


def read_settings(directory: Path, config: Mapping[str, Any], *, siglip: bool = False) -> Settings:
    """Reads tokenizer_config.json, special_tokens_map.json and added_tokens.json.

    Args:
        directory: where they lie, if they do.
        config: the model's config.json, whose `model_type` tells the class if nothing else does.
        siglip: whether the model is of SigLIP's kind, whatever the class of its tokenizer.

    Raises:
        UserError: a file that cannot be read, an entry that is not understood, or a value out of
            place.
    """
    path = directory / "tokenizer_config.json"
    values, tokens = read_json(path), read_json(directory / "special_tokens_map.json")
    for given, file in ((values, path), (tokens, directory / "special_tokens_map.json")):
        refuse_unknown(given, TOKENIZER_READ, TOKENIZER_SILENT, str(file))
    named = str(values.get("tokenizer_class") or "").removesuffix("Fast")
    kind = _CLASSES.get(named) or ("any" if named else None)
    if siglip and kind in (None, "any"):
        kind = _SIGLIP_CLASSES.get(named) or _siglip_kind(directory)
    elif kind is None:
        kind = _MODELS.get(str(config.get("model_type"))) or _by_files(directory)
    if kind == "siglip2" and values.get("do_lower_case") is False:
        raise UserError(f"{path}: do_lower_case=false, but SigLIP 2 reads lower-cased texts only")
    defaults = KINDS[kind]
    outputs = values.get("model_input_names") or defaults.outputs
    # Siglip2Tokenizer pads on the left where no file says a side; the models were trained so not.
    usual = "right" if siglip else defaults.side
    side, cut = values.get("padding_side", usual), values.get("truncation_side", "right")
    for key, value in (("padding_side", side), ("truncation_side", cut)):
        if value not in ("left", "right"):
            raise UserError(f"{path}: {key} must be left or right, not {value!r}")
    length = values.get("model_max_length", defaults.length)
    if length is not None and (isinstance(length, bool) or not isinstance(length, int | float)):
        raise UserError(f"{path}: model_max_length must be a number, not {length!r}")
    if length is not None and not length >= 1:
        raise UserError(f"{path}: model_max_length must be positive, not {length!r}")
    special = {}
    for role, names in _ROLES.items():
        found = [given[name] for given in (values, tokens) for name in names if given.get(name)]
        if found or role in defaults.tokens:
            value = found[0] if found else defaults.tokens[role]
            special[role] = _token(value, path, special=True)
    added = values.get("added_tokens_decoder") or {}
    if not isinstance(added, Mapping) or not isinstance(outputs, list | tuple):
        raise UserError(f"{path}: added_tokens_decoder or model_input_names is not as expected")
    plain = read_json(directory / "added_tokens.json")
    return Settings(
        kind=kind,
        tokens=special,
        added={_id(number, path): token for token, number in _plain(plain, path)}
        | {_id(number, path): _token(token, path) for number, token in added.items()},
        outputs=tuple(name for name in (_IDS, _TYPES, _MASK) if name in outputs),
        side=side,
        truncation_side=cut,
        length=None if length is None or length > UNLIMITED else int(length),
        full=defaults.full,
        values=values,
        further=_further(values, tokens, path),
    )


def _siglip_kind(directory: Path) -> str:
    """Of a model of SigLIP's kind without a class that tells: by its special tokens."""
    if (directory / "spiece.model").exists():
        return "siglip"
    data = read_json(directory / "tokenizer.json")
    names = {token.get("content") for token in data.get("added_tokens") or ()}
    return "siglip2" if {"<bos>", "<eos>"} <= names else "siglip"


def _further(values: Mapping[str, Any], tokens: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Special tokens of no role: a list, or a table by the names that they have elsewhere."""
    found = []
    for given in (values, tokens):
        for key in ("additional_special_tokens", "extra_special_tokens"):
            listed = given.get(key) or ()
            found += listed.values() if isinstance(listed, Mapping) else listed
        found += (given.get("model_specific_special_tokens") or {}).values()
    return tuple(dict.fromkeys(_token(token, path, special=True).content for token in found))


def _by_files(directory: Path) -> str:
    """The kind that only the names of the files, and the vocabulary, tell."""
    if (directory / "tokenizer.json").exists():
        return "any"
    if (directory / "vocab.json").exists():
        words = read_json(directory / "vocab.json")
        extra = read_json(directory / "added_tokens.json")
        for word, kind in (("<|startoftext|>", "clip"), ("<s>", "roberta")):
            if word in words:
                return kind
        return "whisper" if "<|startoftranscript|>" in {*words, *extra} else "gpt2"
    names = (("vocab.txt", "bert"), ("spiece.model", "siglip"))
    return next((kind for name, kind in names if (directory / name).exists()), "xlm_roberta")


def _plain(tokens: Mapping[str, Any], path: Path) -> list[tuple[AddedToken, Any]]:
    return [(_token(token, path, special=True), number) for token, number in tokens.items()]


def _token(value: Any, path: Path, *, special: bool = False) -> AddedToken:
    if isinstance(value, Mapping) and isinstance(value.get("content"), str):
        flags = ("lstrip", "rstrip", "normalized", "single_word")
        options = {flag: bool(value.get(flag, False)) for flag in flags}
        return AddedToken(
            value["content"], special=special or bool(value.get("special")), **options
        )
    if isinstance(value, str) and value:
        return AddedToken(value, special=special, normalized=False)
    raise UserError(f"{path}: a special token cannot be {value!r}")


def _id(value: Any, path: Path) -> int:
    if not isinstance(value, int | str) or isinstance(value, bool) or not str(value).isdecimal():
        raise UserError(f"{path}: the id of an added token cannot be {value!r}")
    return int(value)
