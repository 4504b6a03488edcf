"""How the texts were prepared that a published model was trained with, by its type and config."""

import html
import importlib
import re
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmjax.errors import UserError
from mmjax.interop.preprocess.options import OPEN_CLIP_READ, refuse_others, refuse_unknown
from mmjax.interop.preprocess.texts.tokenizer_files import read_json

OPEN_CLIP = "open_clip_config.json"
# The model types of transformers that were trained on texts of one length, and see its padding.
FIXED = ("siglip", "siglip2", "siglip_text_model", "siglip2_text_model")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Trained(NamedTuple):
    """What a model's texts have in common, whichever class of tokenizer makes their ids.

    style: "siglip" of transformers and big_vision, "open_clip", or "" for all others.
    length: the ids of a text: all have so many if `full`, else at most. None: nothing says it.
    full: whether texts are padded to `length`.
    sees: whether the model sees that padding, so that another length gives other numbers.
    unmasked: whether its text backbone takes no mask of padding.
    clean: of a text, before the tokenizer. None: it stays.
    simple: open_clip's own tokenizer, which pads with 0.
    without_end: the ids of ends become 0.
    """

    style: str = ""
    length: int | None = None
    full: bool = False
    sees: bool = False
    unmasked: bool = False
    clean: Callable[[str], str] | None = None
    simple: bool = False
    without_end: bool = False


def trained(
    folder: Path, config: Mapping[str, Any], architecture: str, longest: int | None
) -> Trained:
    """Reads it from config.json, or open_clip_config.json where it is that library's model.

    Args:
        folder: of the checkpoint.
        config: its config.json.
        architecture: its name in `mmjax.interop.architectures`; "" if only the files tell.
        longest: how many ids the model takes; None if that is not known.

    Raises:
        UserError: an entry that is not understood, or a length that is none.
    """
    if architecture == "open_clip" or (not architecture and "model_cfg" in config):
        return _open_clip(folder, config, longest)
    if architecture == "big_vision":
        return Trained("siglip", longest, full=True, sees=True, unmasked=True)
    kind = str(config.get("model_type"))
    if kind in FIXED:
        text = config if kind.endswith("text_model") else config.get("text_config") or {}
        given = text.get("max_position_embeddings")
        length = None if given is None else positive(given, "max_position_embeddings", folder)
        return Trained("siglip", length, full=True, sees=True)
    return Trained(length=longest)


def _open_clip(folder: Path, config: Mapping[str, Any], longest: int | None) -> Trained:
    path = folder / OPEN_CLIP
    given = config if "model_cfg" in config else read_json(path)
    text = (given.get("model_cfg") or {}).get("text_cfg") or {}
    options = text.get("tokenizer_kwargs") or {}
    where = f"{path}: tokenizer_kwargs"
    refuse_unknown(options, OPEN_CLIP_READ, (), where)
    refuse_others(text, {"tokenizer_mode": ""}, str(path))
    simple = not text.get("hf_tokenizer_name")
    clean = options.get("clean") or ("lower" if simple else "whitespace")
    if clean not in CLEANED:
        raise UserError(f"{where}: clean={clean!r}: choose one of {', '.join(CLEANED)}")
    length, sees = text.get("context_length", longest or 77), bool(text.get("no_causal_mask"))
    return Trained(
        "open_clip",
        positive(length, "context_length", path, least=3),
        full=True,
        sees=sees,
        unmasked=sees,
        clean=cleaning(clean, str(path)),
        simple=simple,
        without_end=bool(options.get("strip_sep_token", False)),
    )


def canonical(text: str) -> str:
    """SigLIP's, in transformers: lower-cased, without ASCII punctuation, single spaces."""
    return re.sub(r"\s+", " ", text.lower().translate(_NO_PUNCTUATION)).strip()


def _canonicalize(text: str) -> str:
    return " ".join(text.replace("_", " ").translate(_NO_PUNCTUATION).lower().split())


# What open_clip calls the ways in which it cleans texts, after mending their letters.
CLEANED: Mapping[str, Callable[[str], str]] = {
    "canonicalize": _canonicalize,
    "lower": lambda text: " ".join(text.split()).lower(),
    "whitespace": lambda text: " ".join(text.split()),
}


def cleaning(name: str, where: str) -> Callable[[str], str]:
    """A function of CLEANED with what comes before: broken letters (ftfy) and HTML's entities.

    Raises:
        UserError: the package ftfy is missing.
    """
    ftfy, after = package("ftfy", where), CLEANED[name]
    return lambda text: after(html.unescape(html.unescape(ftfy.fix_text(text))).strip())


def package(name: str, where: Any) -> Any:
    """The package called `name`; raises UserError if it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{where} needs the package {name}; run: pip install {name}") from error


def positive(value: Any, name: str, where: Any, *, least: int = 1) -> int:
    """A number of ids; raises UserError for what is none, or below `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{where}: {name} must be a number over {least - 1}, not {value!r}")
    return value
