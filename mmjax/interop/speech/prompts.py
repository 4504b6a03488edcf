"""Whisper's prompts: the ids before those that it generates."""

from collections.abc import Mapping
from typing import NamedTuple

from mmjax.errors import UserError
from mmjax.interop.architectures.audio import whisper_ct2
from mmjax.interop.loading import Pretrained
from mmjax.interop.preprocess.texts.tokenizer_files import read_json
from mmjax.models.generation import OPEN

DETECT = OPEN  # in a prompt: the language that the model detects


class Decoding(NamedTuple):
    """What the files of a checkpoint say of generation; the ids are of its vocabulary.

    start, pad: the first word of a prompt, and what follows the end.
    ends: any of them ends a transcript.
    suppressed, begin_suppressed: never generated, and not generated first.
    languages, tasks: by their words, such as "<|en|>" and "transcribe".
    no_timestamps: ends a prompt; the words after it are times. None: the model has none.
    latest_start: the largest first time, in steps from 0. None: any.
    forced: the words of the prompt after `start`; None among them: the language.
    multilingual: whether it may be asked for a language and a task.
    longest: the most words after the prompt.
    """

    start: int
    pad: int
    ends: tuple[int, ...]
    suppressed: tuple[int, ...] = ()
    begin_suppressed: tuple[int, ...] = ()
    languages: Mapping[str, int] = {}
    tasks: Mapping[str, int] = {}
    no_timestamps: int | None = None
    forced: tuple[int | None, ...] = ()
    multilingual: bool = True
    longest: int | None = None
    latest_start: int | None = None


def decoding_of(model: Pretrained) -> Decoding:
    """From generation_config.json, or config.json where there is none; CTranslate2's from its own.

    Raises:
        UserError: a file that is damaged, or does not say how a transcript begins or ends.
    """
    folder = model.path if model.path.is_dir() else model.path.parent
    if model.architecture.name == whisper_ct2.SPEC.name:
        found = whisper_ct2.generation_config(folder, model.config)
    else:
        found = read_json(folder / "generation_config.json") or model.config
    start, end = found.get("decoder_start_token_id"), found.get("eos_token_id")
    if start is None or end is None:
        raise UserError(
            f"{folder}: no decoder_start_token_id or no eos_token_id in generation_config.json:"
            " fetch that file, too"
        )
    ends = tuple(end) if isinstance(end, list) else (end,)
    pad = found.get("pad_token_id")
    forced = dict(found.get("forced_decoder_ids") or model.config.get("forced_decoder_ids") or ())
    if sorted(forced) != list(range(1, len(forced) + 1)):
        raise UserError(f"{folder}: forced_decoder_ids has places other than 1, 2, ...")
    return Decoding(
        start=start,
        pad=ends[0] if pad is None else pad,
        ends=ends,
        suppressed=tuple(found.get("suppress_tokens") or ()),
        begin_suppressed=tuple(found.get("begin_suppress_tokens") or ()),
        languages=found.get("lang_to_id") or {},
        tasks=found.get("task_to_id") or {},
        no_timestamps=found.get("no_timestamps_token_id"),
        forced=tuple(forced[place] for place in sorted(forced)),
        multilingual=found.get("is_multilingual", True),
        longest=found.get("max_length"),
        latest_start=found.get("max_initial_timestamp_index"),
    )


def prompt_of(
    given: Decoding, language: str | None, task: str | None, *, timed: bool = False
) -> list[int]:
    """The ids before a transcript; DETECT where the language is to be detected.

    Args:
        given: of the checkpoint.
        language: such as "en" or "<|en|>". None: what the checkpoint forces, else the
            one detected.
        task: such as "transcribe" or "translate". None: what the checkpoint forces, else, with a
            language, "transcribe".
        timed: whether times are to be generated, too.

    Raises:
        UserError: a language or a task that the model does not have.
    """
    if not given.multilingual and not (language is None and task is None):
        raise UserError("a model of one language only takes no `language` and no `task`")
    words: list[int | None] = [given.start]
    if language is None and task is None:
        words += given.forced
    spoken = words[1] if len(words) > 1 else None
    if language is not None:
        name = language if language in given.languages else f"<|{language.lower()}|>"
        spoken = _known(given.languages, name, "language", language)
    elif spoken is None and given.languages:
        spoken = DETECT
    words[1:2] = [spoken]
    if task is not None:
        words.append(_known(given.tasks, task, "task", task))
    elif language is not None and "transcribe" in given.tasks:
        words.append(given.tasks["transcribe"])
    if timed:
        words = words[:-1] if words[-1] == given.no_timestamps else words
    elif given.no_timestamps is not None and words[-1] != given.no_timestamps:
        words.append(given.no_timestamps)
    return [word for word in words if word is not None]


def _known(table: Mapping[str, int], name: str, option: str, asked: str) -> int:
    if name not in table:
        there = ", ".join(sorted(table)) or f"no {option} at all"
        raise UserError(f"unknown {option} {asked!r}: the checkpoint has {there}")
    return table[name]
