"""The words that a sequence-to-sequence model says: Whisper's transcripts, word by word."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mmjax.backbones.audio.whisper import WhisperModel
from mmjax.errors import UserError
from mmjax.interop.loading import Pretrained, as_input
from mmjax.interop.speech.prompts import DETECT, Decoding, decoding_of, prompt_of
from mmjax.interop.speech.timestamps import Times, allowed, times_of
from mmjax.nn.layers.ids import check_ids


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
    if not writes(model):
        raise UserError(f"{model.path}: not a model that gives words: load one of Whisper")
    given = decoding_of(model)
    prompt = prompt_of(given, language, task)
    features = as_input(
        "input_features", input_features, model.architecture.example["input_features"]
    )
    prompts = np.tile(np.array(prompt, np.int32), (len(features), 1))
    said = say(model, given, features, prompts, max_new_tokens)
    return trimmed(said[:, len(prompt) :], given)


def writes(model: Pretrained) -> bool:
    """Whether a model has a decoder that gives words."""
    return isinstance(model.module, WhisperModel) and model.module.decoder.logits is not None


def say(
    model: Pretrained,
    given: Decoding,
    features: Float[Array | np.ndarray, "B F T"],
    prompts: Int[np.ndarray, "B P"],
    max_new_tokens: int | None,
    *,
    timed: bool = False,
) -> Int[np.ndarray, "B L"]:
    """The prompts, with the languages that were heard, and what `greedy` says after them.

    Raises:
        UserError: too many words, or a word of a prompt that the model does not have.
    """
    first = prompts.shape[1]
    most = model.module.decoder.positions - first
    wanted = most if given.longest is None else min(given.longest, most)
    wanted = wanted if max_new_tokens is None else max_new_tokens
    if not 0 < wanted <= most:
        raise UserError(f"max_new_tokens={wanted}: the model can say 1 to {most}")
    size = model.module.decoder.vocabulary_size
    check_ids(f"{model.path}: generation_config.json", prompts[prompts != DETECT], size)
    said = greedy(
        model.module,
        model.variables,
        jnp.asarray(features),
        jnp.asarray(prompts),
        _among(given.suppressed, size),
        _among(given.begin_suppressed, size),
        _among(tuple(given.languages.values()), size),
        _among(given.ends, size),
        length=first + wanted,
        times=times_of(given) if timed else None,
    )
    return np.asarray(said)


def _among(ids: tuple[int, ...], size: int) -> Bool[Array, " V"]:
    found = np.zeros(size, bool)
    found[[number for number in ids if number < size]] = True
    return jnp.asarray(found)


def trimmed(said: Int[np.ndarray, "B L"], given: Decoding) -> Int[np.ndarray, "B l"]:
    """Only what is before each end, as long as the longest of them, padded."""
    over = np.cumsum(np.isin(said, given.ends), axis=1) > 0
    longest = int(np.max(np.sum(~over, axis=1), initial=0))
    return np.where(over, given.pad, said)[:, :longest]


@functools.partial(jax.jit, static_argnames=("module", "length", "times"))
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
    times: Times | None = None,
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
        length: of the prompt and what follows it.
        times: which words are times, if those are to be said; see `timestamps.allowed`.
    """
    rows, first = prompt.shape
    given = jnp.pad(prompt, ((0, 0), (0, length - first)))

    def likeliest(logits, free):
        return jnp.argmax(jnp.where(free, logits, -jnp.inf), axis=1).astype(jnp.int32)

    def more(state):
        place, _, over, _, _ = state
        return (place < length) & ~jnp.all(over)

    def say(state):
        place, said, over, logits, memory = state
        prompted = jax.lax.dynamic_index_in_dim(given, place, 1, keepdims=False)
        prompted = jnp.where(prompted == DETECT, likeliest(logits, languages), prompted)
        free = ~(suppressed | (begin_suppressed & (place == first)))
        if times is not None:
            free = allowed(jnp.where(free, logits, -jnp.inf), said, place, first, times)
        own = likeliest(logits, free)
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
