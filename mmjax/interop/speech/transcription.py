"""Speech -> text by published models: the ids that Whisper generates, and the letters of CTC."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int
from tokenizers import decoders

from mmjax.backbones.classifier import Classifier
from mmjax.errors import UserError
from mmjax.interop.architectures.audio import whisper_ct2
from mmjax.interop.loading import Pretrained
from mmjax.interop.preprocess.processors import folder_of
from mmjax.interop.preprocess.sounds.audio_inputs import AudioReader, repeated
from mmjax.interop.preprocess.texts.letters import letter_decoder
from mmjax.interop.preprocess.texts.processor import text_processor
from mmjax.interop.speech import generate
from mmjax.interop.speech.prompts import Decoding, decoding_of, prompt_of
from mmjax.interop.speech.timestamps import complete_segments

SPECIAL = re.compile(r"<\|.*\|>")  # the words of CTranslate2's vocabulary that are no text


def writes(model: Pretrained) -> bool:
    """Whether a model gives text for sounds."""
    return has_letters(model) or generate.writes(model)


def has_letters(model: Pretrained) -> bool:
    """Whether a model gives logits of letters for each frame, for CTC."""
    module = model.module
    frames = isinstance(module, Classifier) and module.reads == "tokens"
    return frames and "audio" in model.architecture.parts


def transcribe(
    model: Pretrained,
    reader: AudioReader,
    values: Sequence[Any],
    *,
    batch_size: int,
    options: Mapping[str, Any],
) -> list[str]:
    """The text of each sound.

    Args:
        model: of speech.
        reader: how waveforms become its inputs.
        values: paths, or float arrays [S] at its rate.
        batch_size: how many sounds, or windows of 30 s, run at once.
        options: `language`, `task` and `max_new_tokens` of `generate.generate`, of Whisper only.

    Raises:
        UserError: a model that writes nothing, files that say how are missing, options that the
            model does not have, or a sound that cannot be read.
    """
    if not writes(model):
        raise UserError(
            f"{model.path}: a {model.architecture.name} model without a head that"
            " writes: use embed(...)"
        )
    if has_letters(model):
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise UserError(
                f"{', '.join(given)}: only Whisper takes it; this model writes each sound as it is"
            )
        return spelled(model, reader, values, batch_size)
    return generated(model, reader, values, batch_size, options)


def spelled(
    model: Pretrained, reader: AudioReader, values: Sequence[Any], batch_size: int
) -> list[str]:
    """By the likeliest letter of each frame."""
    decode, texts = letter_decoder(folder_of(model.checkpoint)), []
    for start in range(0, len(values), batch_size):
        given = reader(values[start : start + batch_size], start)
        inputs = repeated(given.inputs, batch_size)
        ids = np.argmax(np.asarray(model(**inputs)["logits"]), axis=-1)
        texts += [decode(row[real].tolist()) for row, real in zip(ids, given.real, strict=False)]
    return texts


def generated(
    model: Pretrained,
    reader: AudioReader,
    values: Sequence[Any],
    batch_size: int,
    options: Mapping[str, Any],
) -> list[str]:
    """By Whisper; a sound longer than it takes at once as `windows` says."""
    decode, given = word_decoder(model), decoding_of(model)
    asked = {name: options[name] for name in ("language", "task")}
    limit, timed, texts = options["max_new_tokens"], given.no_timestamps is not None, []
    prompt, long_prompt = (prompt_of(given, **asked, timed=x) for x in (False, timed))
    for start in range(0, len(values), batch_size):
        sounds = reader.read(values[start : start + batch_size], start)
        is_long = [len(x) > reader.longest for x in sounds]
        words: list[list[int]] = [[]] * len(sounds)
        for longer in {*is_long}:
            chosen = [i for i, x in enumerate(is_long) if x == longer]
            if longer:
                pieces = [reader.whole(sounds[i]) for i in chosen]
                found = windows(model, given, pieces, long_prompt, limit, batch_size, timed)
            else:
                features = reader.prepare([sounds[i] for i in chosen]).inputs["input_features"]
                prompts = np.tile(np.array(prompt, np.int32), (len(features), 1))
                found = window(model, given, features, prompts, limit, batch_size)[1]
            for i, row in zip(chosen, found, strict=True):
                words[i] = row
        texts += map(decode, words)
    return texts


def window(
    model: Pretrained,
    given: Decoding,
    features: np.ndarray,
    prompts: Int[np.ndarray, "B P"],
    limit: int | None,
    most: int,
    timed: bool = False,
) -> tuple[Int[np.ndarray, "B P"], list[list[int]]]:
    """The prompts with the languages that were detected, and the ids after them, up to the end."""
    rows, first = prompts.shape
    full = repeated({"features": features, "prompts": prompts}, most)
    features, prompts = full["features"], full["prompts"]
    found = generate.run(model, given, features, prompts, limit, timed=timed)[:rows]
    ids = found[:, first:]
    over = np.cumsum(np.isin(ids, given.ends), axis=1) > 0
    return found[:, :first], [row[~end].tolist() for row, end in zip(ids, over, strict=True)]


def windows(
    model: Pretrained,
    given: Decoding,
    spectrograms: Sequence[Float32[np.ndarray, "F _"]],
    prompt: Sequence[int],
    limit: int | None,
    most: int,
    timed: bool,
) -> list[list[int]]:
    """The ids of sounds that are longer than Whisper takes at once (Radford et al. 2022, 3.8).

    As the sequential long form of transformers, at temperature 0, without text of the window
    before: a window begins where the last whole segment ended by the generated times. A model
    without times takes windows side by side. The language is that of the first window.
    """
    frames = 2 * model.module.encoder.positions
    first = given.no_timestamps + 1 if timed else None
    prompts = np.tile(np.array(prompt, np.int32), (len(spectrograms), 1))
    begun, words = np.zeros(len(spectrograms), int), [[] for _ in spectrograms]
    totals = np.array([x.shape[1] for x in spectrograms])
    while (begun < totals).any():
        rows = np.flatnonzero(begun < totals)
        counts = np.minimum(totals[rows] - begun[rows], frames)
        cut = [spectrograms[i][:, begun[i] : begun[i] + frames] for i in rows]
        features = np.stack([np.pad(x, ((0, 0), (0, frames - x.shape[1]))) for x in cut])
        prompts[rows], found = window(model, given, features, prompts[rows], limit, most, timed)
        for i, row, count in zip(rows, found, counts, strict=True):
            kept, step = complete_segments(row, first, int(count))
            words[i] += kept
            begun[i] += step
    return words


def word_decoder(model: Pretrained) -> Callable[[Sequence[int]], str]:
    """Whisper's ids -> text without special words and times, by the files beside the model.

    Raises:
        UserError: there is no tokenizer.
    """
    if model.architecture.name == whisper_ct2.SPEC.name:
        pieces = whisper_ct2.words_of(folder_of(model.checkpoint))
        return functools.partial(joined, pieces)
    decode = text_processor(folder_of(model.checkpoint), model.config).decode
    return lambda ids: decode(np.array(ids, np.int32))


def joined(pieces: Sequence[str], ids: Sequence[int]) -> str:
    """The text of byte-level pieces, without those of the form <|...|>."""
    known = [pieces[number] for number in ids if number < len(pieces)]
    plain = [piece for piece in known if not SPECIAL.fullmatch(piece)]
    return decoders.ByteLevel().decode(plain)
