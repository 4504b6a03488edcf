"""The words that a sequence-to-sequence model says: Whisper's transcripts, word by word."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mmjax.interop.families.sound import whisper_ct2
from mmjax.interop.loading import Pretrained, as_input
from mmjax.interop.preprocess.tokenizer_files import read_json
from mmjax.types import UserError

DETECT = -1  # in a prompt: the language that the model hears


class Decoding(NamedTuple):
    """What a checkpoint says about its words; the ids are of its vocabulary.

    start, pad: the first word of a prompt, and what follows the end.
    ends: any of them ends a transcript.
    suppressed, begin_suppressed: never said, and not said first.
    languages, tasks: by their words, such as "<|en|>" and "transcribe".
    no_timestamps: ends a prompt. None: the model has no such word.
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


def decoding_of(model: Pretrained) -> Decoding:
    """From generation_config.json, or config.json where there is none; CTranslate2's from its own.

    Raises:
        UserError: a file that is damaged, or does not say how a transcript begins or ends.
    """
    folder = model.path if model.path.is_dir() else model.path.parent
    if model.architecture.family == whisper_ct2.FAMILY.name:
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
    )


def prompt_of(given: Decoding, language: str | None, task: str | None) -> list[int]:
    """The words before a transcript without times; DETECT where the language is to be heard.

    Args:
        given: of the checkpoint.
        language: such as "en" or "<|en|>". None: what the checkpoint forces, else what is heard.
        task: such as "transcribe" or "translate". None: what the checkpoint forces, else, with a
            language, "transcribe".

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
    if given.no_timestamps is not None and words[-1] != given.no_timestamps:
        words.append(given.no_timestamps)
    return [word for word in words if word is not None]


def _known(table: Mapping[str, int], name: str, option: str, asked: str) -> int:
    if name not in table:
        there = ", ".join(sorted(table)) or f"no {option} at all"
        raise UserError(f"unknown {option} {asked!r}: the checkpoint has {there}")
    return table[name]


def generate(
    model: Pretrained,
    input_features: Any,
    *,
    language: str | None = None,
    task: str | None = None,
    max_new_tokens: int | None = None,
) -> Int[np.ndarray, "B L"]:
    """Transcribes recordings of up to 30 s: the likeliest word, time after time.

    The same words as `generate(..., num_beams=1, do_sample=False)` of transformers. It is compiled
    for each number of recordings and of words.

    Args:
        model: Whisper, as `mmjax.interop.load` gives it.
        input_features: log-mel spectrograms [B F T].
        language, task: see `prompt_of`.
        max_new_tokens: the most words. None: what the checkpoint says, else as many as the model
            has positions.

    Returns:
        The ids of the words after the prompt, without the end, padded on the right.

    Raises:
        UserError: another model, an unknown language or task, or too many words.
    """
    if not hasattr(model.module, "decoder") or model.module.decoder.logits is None:
        raise UserError(f"{model.path}: not a model that gives words: load one of Whisper")
    given = decoding_of(model)
    prompt = prompt_of(given, language, task)
    most = model.module.decoder.positions - len(prompt)
    wanted = most if given.longest is None else min(given.longest, most)
    wanted = wanted if max_new_tokens is None else max_new_tokens
    if not 0 < wanted <= most:
        raise UserError(f"max_new_tokens={wanted}: the model can say 1 to {most}")
    size = model.module.decoder.vocabulary_size
    features = as_input(
        "input_features", input_features, model.architecture.example["input_features"]
    )
    said = greedy(
        model.module,
        model.variables,
        features,
        jnp.tile(jnp.array(prompt, jnp.int32), (len(features), 1)),
        _among(given.suppressed, size),
        _among(given.begin_suppressed, size),
        _among(tuple(given.languages.values()), size),
        _among(given.ends, size),
        length=len(prompt) + wanted,
    )
    return trimmed(np.asarray(said)[:, len(prompt) :], given)


def _among(ids: tuple[int, ...], size: int) -> Bool[Array, " V"]:
    found = np.zeros(size, bool)
    found[[number for number in ids if number < size]] = True
    return jnp.asarray(found)


def trimmed(said: Int[np.ndarray, "B L"], given: Decoding) -> Int[np.ndarray, "B l"]:
    """Only what is before each end, as long as the longest of them, padded."""
    over = np.cumsum(np.isin(said, given.ends), axis=1) > 0
    longest = int(np.max(np.sum(~over, axis=1), initial=0))
    return np.where(over, given.pad, said)[:, :longest]


@functools.partial(jax.jit, static_argnames=("module", "length"))
def greedy(
    module: nn.Module,
    variables: Any,
    features: Float[Array, "B F T"],
    prompt: Int[Array, "B P"],
    suppressed: Bool[Array, " V"],
    begin_suppressed: Bool[Array, " V"],
    languages: Bool[Array, " V"],
    ends: Bool[Array, " V"],
    *,
    length: int,
) -> Int[Array, "B length"]:
    """The prompt and what follows it, up to `length` words, or until all texts have ended.

    What follows an end has no meaning.

    Args:
        module: has the methods `encode` and `step` of `towers.sound.whisper.WhisperModel`.
        variables: of it.
        features: what it hears.
        prompt: the first words; DETECT stands for the likeliest of `languages`.
        suppressed, begin_suppressed: words never said, and not said first.
        languages, ends: which words are languages, and which end a transcript.
    """
    rows, first = prompt.shape
    given = jnp.pad(prompt, ((0, 0), (0, length - first)))

    def likeliest(logits, allowed):
        return jnp.argmax(jnp.where(allowed, logits, -jnp.inf), axis=1).astype(jnp.int32)

    def more(state):
        place, _, over, _, _ = state
        return (place < length) & ~jnp.all(over)

    def say(state):
        place, said, over, logits, memory = state
        prompted = jax.lax.dynamic_index_in_dim(given, place, 1, keepdims=False)
        prompted = jnp.where(prompted == DETECT, likeliest(logits, languages), prompted)
        own = likeliest(logits, ~(suppressed | (begin_suppressed & (place == first))))
        word = jnp.where(place < first, prompted, own)
        said = jax.lax.dynamic_update_slice(said, word[:, None], (0, place))
        over = over | (ends[word] & (place >= first))
        logits, memory = step(word[:, None], place, memory)
        return place + 1, said, over, logits, memory

    step = functools.partial(module.apply, variables, method="step")
    context = module.apply(variables, features, method="encode")
    memory = module.decoder.empty(rows, length)
    logits, memory = step(given[:, :1], jnp.int32(0), memory, context)
    start = (jnp.int32(1), given, jnp.zeros(rows, bool), logits, memory)
    return jax.lax.while_loop(more, say, start)[1]
