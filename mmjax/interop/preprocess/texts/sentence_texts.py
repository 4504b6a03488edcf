"""The settings of sentence-transformers for texts: prompts, lengths, case."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mmjax.errors import UserError
from mmjax.interop.preprocess import options
from mmjax.interop.preprocess.options import refuse_others, refuse_unknown
from mmjax.interop.preprocess.texts.tokenizer_files import read_json
from mmjax.interop.preprocess.texts.trained import positive
from mmjax.interop.sentence_folder import LIST, modules

# What it calls the settings of its transformer, by the model inside.
_TRANSFORMERS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_WHOLE = "config_sentence_transformers.json"
# What mmjax runs of the entries that change the numbers.
_ONLY = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
    "processing_kwargs": {},
    "query_length": None,
    "document_length": None,
    "query_expansion": None,
    "tokenizer_name_or_path": None,
}
_ARGUMENTS = ("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args")
_ARGUMENTS += ("config_kwargs",)


class Sentences(NamedTuple):
    """What the files say.

    length: the most ids of a text. None: as the tokenizer says.
    lower: whether texts are lower-cased first.
    prompts: what is put in front of a text, by name.
    default: the name of the one that every text gets. None: there is none.
    excluded: whether the pooling leaves a prompt's tokens out.
    """

    length: int | None = None
    lower: bool = False
    prompts: Mapping[str, str] = {}
    default: str | None = None
    excluded: bool = False


def read_sentences(folder: Path) -> Sentences | None:
    """Reads all of the files; None if the folder is none of sentence-transformers.

    Raises:
        UserError: a file that is damaged, or an entry that is not understood.
    """
    path = next((folder / name for name in _TRANSFORMERS if (folder / name).exists()), None)
    if path is None and not (folder / LIST).exists():
        return None
    values = {} if path is None else read_json(path)
    refuse_others(values, _ONLY, str(path))
    known = options.TRANSFORMER_READ
    refuse_unknown(values, {*known, *_ONLY, *_ARGUMENTS}, options.TRANSFORMER_SILENT, str(path))
    for name in _ARGUMENTS:
        refuse_unknown(values.get(name) or {}, (), options.ARGUMENTS_SILENT, f"{path}: {name}")
    length = values.get("max_seq_length")
    prompts, default = _prompts(folder / _WHOLE)
    return Sentences(
        length=None if length is None else positive(length, "max_seq_length", path),
        lower=bool(values.get("do_lower_case", False)),
        prompts=prompts,
        default=default,
        excluded=_excluded(folder),
    )


def _prompts(path: Path) -> tuple[Mapping[str, str], str | None]:
    values = read_json(path)
    refuse_unknown(values, options.SENTENCES_READ, options.SENTENCES_SILENT, str(path))
    refuse_others(values, {"model_type": "SentenceTransformer"}, str(path))
    given, default = values.get("prompts") or {}, values.get("default_prompt_name")
    texts = given.values() if isinstance(given, Mapping) else [given]
    if not isinstance(given, Mapping) or not all(isinstance(t, str | None) for t in texts):
        raise UserError(f"{path}: prompts must be texts by name, not {given!r:.100}")
    prompts = {name: text or "" for name, text in given.items()}
    if default is not None and default not in prompts:
        names = ", ".join(map(repr, prompts)) or "none"
        raise UserError(f"{path}: default_prompt_name={default!r}, but the prompts are {names}")
    return prompts, default


def _excluded(folder: Path) -> bool:
    """By the config of the module that pools."""
    found = [module for module in modules(folder) if module.kind == "Pooling"]
    configs = [read_json(folder / module.folder / "config.json") for module in found]
    return any(config.get("include_prompt") is False for config in configs)
