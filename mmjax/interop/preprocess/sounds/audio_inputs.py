"""Sounds as users have them -> the inputs of a published model, each as if it were alone.

What a sound becomes depends on nothing that stands beside it: it is prepared by itself, and where
sounds of several lengths share a batch, the model is told how long each is.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int

from mmjax.backbones.audio import speech
from mmjax.backbones.audio.wav2vec2 import Wav2Vec2Backbone, frames_of
from mmjax.errors import UserError
from mmjax.interop.loading import Pretrained
from mmjax.interop.preprocess import processors
from mmjax.interop.preprocess.sounds.processor import (
    LEAST,
    check_length,
    sound_processor,
    whisper_features,
)
from mmjax.interop.preprocess.sounds.sound_settings import sound_settings
from mmjax.interop.preprocess.sounds.waveforms import mel_energies, padded, read
from mmjax.nn.audio.mel import mel_filters

RATE = 16_000  # Hz, of the models without a feature extractor
# By architecture: the class of the feature extractor, which older files do not name.
EXTRACTORS: Mapping[str, str] = {
    "ast": "ASTFeatureExtractor",
    "clap": "ClapFeatureExtractor",
    "wav2vec2": "Wav2Vec2FeatureExtractor",
    "whisper": "WhisperFeatureExtractor",
    "whisper_ct2": "WhisperFeatureExtractor",
}
WHISPERS = ("whisper", "whisper_ct2")
# Resemblyzer's windows in samples, its parts in frames, from one of them to the next, and which
# share of the last must be sound.
WINDOW, HOP, PART, STEP, COVERED = 400, 160, 160, 77, 0.75


class ModelInputs(NamedTuple):
    """What a model is given of some inputs.

    inputs: by the names of its library, a row for each input or for each part of one.
    real: which of the model's tokens [R N] are of the input; None: all.
    owners: of which input each row is; None: row i is input i.
    """

    inputs: Mapping[str, np.ndarray]
    real: Bool[np.ndarray, "R N"] | None = None
    owners: Int[np.ndarray, " R"] | None = None


Prepare = Callable[[Sequence[Float32[np.ndarray, "..."]]], ModelInputs]


class AudioReader(NamedTuple):
    """How waveforms become the inputs of a model.

    rate: in Hz.
    least: the fewest samples.
    prepare: sounds of that rate -> its inputs.
    longest: the most samples at once, of models that take longer ones in windows.
    whole: a sound -> all of its spectrogram [F T], of such models.
    """

    rate: int
    least: int
    prepare: Prepare
    longest: int | None = None
    whole: Callable[[np.ndarray], np.ndarray] | None = None

    def read(self, values: Sequence[Any], first: int = 0) -> list[Float32[np.ndarray, "..."]]:
        """The samples [S] of paths and of float arrays at `rate`.

        Raises:
            UserError: a sound that cannot be read, is not finite, or is too short. An array is
                called by its place, that of the first being `first`.
        """
        found = []
        for place, value in enumerate(values, start=first):
            found.append(read(value, self.rate, self.rate, f"audio[{place}]"))
            check_length(value, found[-1], self.least, self.rate, f"audio[{place}]")
        return found

    def __call__(self, values: Sequence[Any], first: int = 0) -> ModelInputs:
        """What the model is given of sounds; see `read`."""
        return self.prepare(self.read(values, first))


def audio_reader(model: Pretrained) -> AudioReader:
    """How waveforms become the inputs of a published model.

    Raises:
        UserError: no file says it, or one says what is of another model.
    """
    architecture = model.architecture.name
    if architecture == "silero":
        return AudioReader(RATE, 1, silero)
    if architecture == "resemblyzer":
        return AudioReader(RATE, 1, functools.partial(partials, bins=model.module.bins))
    config, wanted = extractor_config(model), EXTRACTORS[architecture]
    name, values = sound_settings(config, wanted)
    if name != wanted:
        raise UserError(
            f"{model.path}: its preprocessor_config.json is of {name}, but a model of the"
            f" architecture {architecture} needs {wanted}: one of the files is of another model"
        )
    rate, process = values["sampling_rate"], sound_processor(config, wanted)
    if architecture == "wav2vec2":
        backbone = model.architecture.parts["audio"].module
        prepare = functools.partial(waves, process=process, rate=rate, backbone=backbone)
        return AudioReader(rate, backbone.least(), prepare)
    prepare = functools.partial(each, process=process, rate=rate)
    if architecture not in WHISPERS:
        return AudioReader(rate, LEAST.get(name, 1), prepare)
    hop = values["hop_length"]
    most = (values["chunk_length"] * rate // hop + 1) * hop - 1  # samples that are no frame more
    return AudioReader(rate, 1, prepare, most, functools.partial(whisper_features, values))


def extractor_config(model: Pretrained) -> Mapping[str, Any]:
    """What the checkpoint's file says of its feature extractor.

    Whisper's is known without one: its models differ only in the number of mel bins.

    Raises:
        UserError: there is none.
    """
    found = processors.of_sounds(model.checkpoint)
    if found:
        return found
    if model.architecture.name in WHISPERS:
        return {"feature_size": model.architecture.parts["audio"].module.bins}
    raise UserError(
        f"{processors.folder_of(model.checkpoint)} has no preprocessor_config.json, so nothing says"
        " how a file becomes an input of this model: add it, or pass arrays to the `model` of this"
    )


def each(sounds: Sequence[np.ndarray], *, process: Callable, rate: int) -> ModelInputs:
    """Of models that take sounds of one length only: AST, CLAP and Whisper.

    Whisper's attention mask is left out, since the model takes none: what follows a sound in its
    30 s is read, as in its training.
    """
    found = process(sounds, rate, alone=True)
    return ModelInputs({name: x for name, x in found.items() if name != "attention_mask"})


def waves(
    sounds: Sequence[np.ndarray], *, process: Callable, rate: int, backbone: Wav2Vec2Backbone
) -> ModelInputs:
    """Of wav2vec 2.0, which is told the `lengths`, whether or not it was trained with masks."""
    rows = process(sounds, rate, alone=True)["input_values"]
    width, lengths = bucket(rows.shape[1]), np.array([len(x) for x in sounds], np.int32)
    counts = frames_of(lengths, backbone.sizes, backbone.strides)
    real = np.arange(frames_of(width, backbone.sizes, backbone.strides)) < counts[:, None]
    return ModelInputs({"input_values": padded(list(rows), width), "lengths": lengths}, real)


def silero(sounds: Sequence[np.ndarray]) -> ModelInputs:
    """Of Silero VAD; its last frame is filled with silence, and what is masked changes no state."""
    width = -(-bucket(max(map(len, sounds))) // speech.FRAME) * speech.FRAME
    lengths = np.array([len(x) for x in sounds])[:, None]
    inputs = {
        "input_values": padded(sounds, width),
        "attention_mask": (np.arange(width) < lengths).astype(np.int32),
    }
    return ModelInputs(inputs, np.arange(width // speech.FRAME) < -(-lengths // speech.FRAME))


def partials(sounds: Sequence[np.ndarray], *, bins: int) -> ModelInputs:
    """Of Resemblyzer: parts of 1.6 s every 0.77 s, whose embeddings are averaged.

    As its `embed_utterance`. The loudness is not changed and silence not cut out, as its
    `preprocess_wav` does before.
    """
    filters = mel_filters(1 + WINDOW // 2, bins, RATE, scale="slaney", area=True)
    window = np.hanning(WINDOW + 1)[:-1]
    parts, owners = [], []
    for owner, x in enumerate(sounds):
        frames = -(-(len(x) + 1) // HOP)
        starts = list(range(0, max(1, frames - PART + STEP + 1), STEP))
        if len(starts) > 1 and len(x) - starts[-1] * HOP < COVERED * PART * HOP:
            starts.pop()
        # Zeros up to the end of the last part, and half a window on either side.
        behind = max((starts[-1] + PART) * HOP - len(x), 0)
        x = np.pad(x, (WINDOW // 2, behind + WINDOW // 2))
        mels = mel_energies(x, window, filters, HOP, centred=False).astype(np.float32)
        parts += [mels[start : start + PART] for start in starts]
        owners += [owner] * len(starts)
    return ModelInputs({"mels": np.stack(parts)}, owners=np.array(owners))


def bucket(length: int) -> int:
    """A length for rows of up to this one: few of them, so that few programs are compiled.

    At most a quarter longer, and at least a second.
    """
    step = max(RATE, 1 << max(length - 1, 1).bit_length() - 1) // 4
    return max(RATE, -(-length // step) * step)


def repeated(inputs: Mapping[str, np.ndarray], most: int) -> dict[str, np.ndarray]:
    """Rows filled up to a power of two, at most `most`, by the last: few programs are compiled."""
    count = len(next(iter(inputs.values())))
    size = max(min(1 << (count - 1).bit_length(), most), count)
    return {
        name: np.concatenate([x, np.repeat(x[-1:], size - count, axis=0)])
        for name, x in inputs.items()
    }
