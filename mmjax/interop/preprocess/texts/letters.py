"""From the letters of a CTC model in each frame to text (Graves et al. 2006,
https://doi.org/10.1145/1143844.1143891), as Wav2Vec2CTCTokenizer of transformers."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmjax.errors import UserError
from mmjax.interop.preprocess.texts.tokenizer_files import read_json

CLASS = "Wav2Vec2CTCTokenizer"
VOCABULARY = "vocab.json"
TOKENS = {"pad_token": "<pad>", "unk_token": "<unk>", "word_delimiter_token": "|"}
FLAGS = {"do_lower_case": False, "clean_up_tokenization_spaces": False}
# What `clean_up_tokenization_spaces` of transformers replaces, in this order.
SPACES = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


def letter_decoder(folder: Path) -> Callable[[Sequence[int]], str]:
    """The function from the likeliest id of each frame to text that a folder's files describe.

    Equal neighbours are one letter; the padding token is CTC's blank, and the word delimiter a
    space.

    Args:
        folder: with vocab.json, and tokenizer_config.json, special_tokens_map.json and
            added_tokens.json if there are some.

    Raises:
        UserError: there is no vocab.json, or a file is damaged or of another kind of tokenizer.
    """
    file = folder / VOCABULARY
    if not file.exists():
        raise UserError(
            f"{folder} has no {VOCABULARY}, so nothing says which letters this model writes: fetch"
            " it and tokenizer_config.json, too, or use embed(...)"
        )
    path = folder / "tokenizer_config.json"
    values = read_json(path)
    named = values.get("tokenizer_class") or CLASS
    if named != CLASS:
        raise UserError(
            f"{path}: tokenizer_class {named!r}: mmjax has only {CLASS} for such models"
        )
    told = {**read_json(folder / "special_tokens_map.json"), **values}
    tokens = {role: _content(told.get(role, token), role, path) for role, token in TOKENS.items()}
    for flag, default in FLAGS.items():
        if not isinstance(values.get(flag, default), bool | None):
            raise UserError(f"{path}: {flag} must be true or false, not {values[flag]!r}")
    space = values.get("replace_word_delimiter_char", " ")
    letters = _letters(folder, values, file)
    if tokens["pad_token"] not in letters.values():
        raise UserError(
            f"{file} has no {tokens['pad_token']!r}, which stands for a frame without a letter:"
            " name its pad_token in tokenizer_config.json"
        )

    def decode(ids: Sequence[int]) -> str:
        named = [letters.get(int(number), tokens["unk_token"] or "") for number in ids]
        said = [letter for letter, _ in itertools.groupby(named) if letter != tokens["pad_token"]]
        delimiter = tokens["word_delimiter_token"]
        text = "".join(space if letter == delimiter else letter for letter in said).strip()
        text = text.lower() if values.get("do_lower_case") else text
        if values.get("clean_up_tokenization_spaces"):
            for spaced in SPACES:
                text = text.replace(spaced, spaced.strip())
        return text

    return decode


def _letters(folder: Path, values: Mapping[str, Any], file: Path) -> dict[int, str]:
    """id -> letter; of several languages those of `target_lang`."""
    words = read_json(file)
    if words and all(isinstance(table, Mapping) for table in words.values()):
        language = values.get("target_lang")
        if language not in words:
            raise UserError(
                f"{file} has the letters of {', '.join(sorted(words)[:9])}, and"
                f" tokenizer_config.json says target_lang={language!r}: name one of them there"
            )
        words = words[language]
    added = values.get("added_tokens_decoder") or {}
    extra = dict(read_json(folder / "added_tokens.json"))
    found: dict[int, str] = {}
    try:
        found |= {int(number): _content(token, "added", file) for number, token in added.items()}
        found |= {int(number): word for word, number in (extra | dict(words)).items()}
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: an id is no whole number ({error}); fetch it again") from error
    return found


def _content(value: Any, role: str, path: Path) -> str | None:
    """A token, which may be an object with its flags; None, there is none of this role."""
    value = value.get("content") if isinstance(value, Mapping) else value
    if value is not None and not isinstance(value, str):
        raise UserError(f"{path}: {role} cannot be {value!r}")
    return value
