"""Whisper's transcripts, as token ids."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mmjax.backbones.audio.whisper import WhisperModel
from mmjax.errors import UserError
from mmjax.interop.loading import Pretrained, as_input
from mmjax.interop.speech.prompts import DETECT, Decoding, decoding_of, prompt_of
from mmjax.interop.speech.timestamps import Times, allowed, times_of
from mmjax.models.generation import greedy, likeliest
from mmjax.nn.layers.ids import check_ids


def generate(
    model: Pretrained,
    input_features: Any,
    *,
    language: str | None = None,
    task: str | None = None,
    max_new_tokens: int | None = None,
) -> Int[np.ndarray, "B L"]:
    """Transcribes recordings of up to 30 s: the likeliest id, one after the other.

    The same ids as `generate(..., num_beams=1, do_sample=False)` of transformers. It is compiled
    for each number of recordings and of ids.

    Args:
        model: Whisper, as `mmjax.interop.load` gives it.
        input_features: log-mel spectrograms [B F T].
        language, task: see `prompt_of`.
        max_new_tokens: the most ids. None: what the checkpoint says, else as many as the model
            has positions.

    Returns:
        The ids after the prompt, without the end, padded on the right.

    Raises:
        UserError: another model, an unknown language or task, or too many ids.
    """
    if not writes(model):
        raise UserError(f"{model.path}: not a model that writes: load one of Whisper")
    given = decoding_of(model)
    prompt = prompt_of(given, language, task)
    features = as_input(
        "input_features", input_features, model.architecture.example["input_features"]
    )
    prompts = np.tile(np.array(prompt, np.int32), (len(features), 1))
    ids = run(model, given, features, prompts, max_new_tokens)
    return trimmed(ids[:, len(prompt) :], given)


def writes(model: Pretrained) -> bool:
    """Whether a model has a decoder that gives logits."""
    return isinstance(model.module, WhisperModel) and model.module.decoder.logits is not None


def run(
    model: Pretrained,
    given: Decoding,
    features: Float[Array | np.ndarray, "B F T"],
    prompts: Int[np.ndarray, "B P"],
    max_new_tokens: int | None,
    *,
    timed: bool = False,
) -> Int[np.ndarray, "B L"]:
    """The prompts, with the languages that were detected, and the ids generated after them.

    Raises:
        UserError: too many ids, or an id of a prompt that the model does not have.
    """
    first = prompts.shape[1]
    most = model.module.decoder.positions - first
    wanted = most if given.longest is None else min(given.longest, most)
    wanted = wanted if max_new_tokens is None else max_new_tokens
    if not 0 < wanted <= most:
        raise UserError(f"max_new_tokens={wanted}: the model can generate 1 to {most}")
    size = model.module.decoder.vocabulary_size
    check_ids(f"{model.path}: generation_config.json", prompts[prompts != DETECT], size)
    ids = generated_ids(
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
    return np.asarray(ids)


def _among(ids: tuple[int, ...], size: int) -> Bool[Array, " V"]:
    found = np.zeros(size, bool)
    found[[number for number in ids if number < size]] = True
    return jnp.asarray(found)


def trimmed(ids: Int[np.ndarray, "B L"], given: Decoding) -> Int[np.ndarray, "B l"]:
    """Only what is before each end, as long as the longest of them, padded."""
    over = np.cumsum(np.isin(ids, given.ends), axis=1) > 0
    longest = int(np.max(np.sum(~over, axis=1), initial=0))
    return np.where(over, given.pad, ids)[:, :longest]


@functools.partial(jax.jit, static_argnames=("model", "length", "times"))
def generated_ids(
    model: WhisperModel,
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
    """The prompt and what follows it; see `mmjax.models.generation.greedy`.

    Args:
        model, variables: of Whisper.
        features: log-mel spectrograms.
        prompt: the first ids; DETECT stands for the likeliest of `languages`.
        suppressed, begin_suppressed: ids never generated, and not as the first.
        languages, ends: which ids are languages, and which end a transcript.
        length: of the prompt and what follows it.
        times: which ids are times, if those are to be generated; see `timestamps.allowed`.
    """
    first = prompt.shape[1]

    def choose(logits, ids, position):
        free = ~(suppressed | (begin_suppressed & (position == first)))
        if times is not None:
            free = allowed(jnp.where(free, logits, -jnp.inf), ids, position, first, times)
        free = jnp.where(position < first, languages, free)
        return likeliest(jnp.where(free, logits, -jnp.inf), ids, position)

    def step(ids, position, cache):
        def decode(model):
            return model.decoder.step(ids, position, states, length=length)

        return model.apply({**variables, **cache}, method=decode, mutable=["cache"])

    encoded = model.apply(variables, method=lambda model: model.encoder(features))
    states = encoded["last_hidden_state"]
    return greedy(step, {}, prompt, ends, length=length, choose=choose)
