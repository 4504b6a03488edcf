"""Sounds -> the inputs of a pretrained model."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from mmjax.errors import UserError
from mmjax.interop.preprocess.sounds.sound_settings import Values, sound_settings
from mmjax.interop.preprocess.sounds.waveforms import band_filters, mel_energies, padded, read
from mmjax.nn.audio.spectrogram import CONVENTIONS

LEAST = {"ASTFeatureExtractor": 400}  # samples, of the extractors that do not fill up shorter ones
Extractor = Callable[[Values, Sequence[np.ndarray], int, bool], dict[str, np.ndarray]]


def sound_processor(
    config: Mapping[str, Any], default: str | None = None
) -> Callable[..., dict[str, np.ndarray]]:
    """The function from sounds to a model's inputs that a checkpoint's configuration describes.

    Args:
        config: the contents of preprocessor_config.json or processor_config.json, for
            ASTFeatureExtractor, ClapFeatureExtractor, Wav2Vec2FeatureExtractor or
            WhisperFeatureExtractor.
        default: the class where `config` names none.

    Returns:
        (sounds, sampling_rate=None, *, seed=0, alone=False) -> arrays. A sound is a path
        (resampled; channels averaged), or an array of floats [S] in -1..1 at `sampling_rate` Hz,
        which must be the model's. float32 unless said otherwise:
            Whisper: "input_features" [B F T], log-mel of 30 s (T = 3000), longer ones cut;
            AST: "input_values" [B T F], log-mel of 10.24 s (T = 1024), longer ones cut;
            Wav2Vec2: "input_values" [B S], as long as the longest;
            CLAP: "input_features" [B 1 T 64], or [B 4 T 64] for "fusion" (the whole, shrunk, and
                three parts), in dB, and "is_longer" bool [B 1]. Parts of longer sounds are drawn
                from `seed`, as transformers draws them after numpy.random.seed(seed).
        With `alone`, what a sound becomes depends on it alone: the padding of Wav2Vec2 is not
        normalised with it, each sound of CLAP draws anew from `seed`, and none that is not longer
        is called so, as the original calls one of a batch that has no longer one.
        Where return_attention_mask is set, Whisper and Wav2Vec2 give "attention_mask" int32, 1 for
        what is sound ([B T], [B S]).

    Raises:
        UserError: at once, a class, key or value that is not understood; later, a sound that
            cannot be read, is empty, too short, not finite or at another rate.
    """
    name, values = sound_settings(config, default)
    extract, least = _EXTRACTORS[name], LEAST.get(name, 1)
    rate = values["sampling_rate"]

    def process(
        sounds: Any, sampling_rate: int | None = None, *, seed: int = 0, alone: bool = False
    ) -> dict[str, np.ndarray]:
        if isinstance(sounds, str) or not isinstance(sounds, Sequence | np.ndarray):
            raise UserError(f"expected a list of sounds, got {type(sounds).__name__}: pass [it]")
        if isinstance(sounds, np.ndarray) and sounds.ndim != 2:
            raise UserError(f"expected a list of sounds, got {list(sounds.shape)}: pass [it]")
        if len(sounds) == 0:
            raise UserError("expected a list of sounds, got an empty one")
        arrays = []
        for place, sound in enumerate(sounds):
            arrays.append(read(sound, rate, sampling_rate, f"sounds[{place}]"))
            check_length(sound, arrays[-1], least, rate, f"sounds[{place}]")
        return extract(values, arrays, seed, alone)

    return process


def check_length(value: Any, x: np.ndarray, least: int, rate: int, name: str) -> None:
    """Raises UserError for fewer samples than `least`.

    Args:
        value: the path or array that a sound came from.
        x: its samples.
        least: of one window of a model.
        rate: in Hz.
        name: of an array.
    """
    if len(x) < least:
        name = f"sound file {value}" if isinstance(value, str | Path) else name
        raise UserError(
            f"{name}: {len(x)} samples at {rate} Hz are shorter than one window of {least}"
            f" ({1000 * least / rate:g} ms): give a longer sound"
        )


def _whisper(
    values: Values, sounds: Sequence[np.ndarray], seed: int, alone: bool
) -> dict[str, np.ndarray]:
    del seed, alone
    hop, samples = values["hop_length"], values["chunk_length"] * values["sampling_rate"]
    features = [whisper_features(values, x) for x in padded(sounds, samples)]
    out = {"input_features": np.stack(features)}
    if values["return_attention_mask"]:
        lengths = np.array([min(len(x), samples) for x in sounds])
        starts = np.arange(samples // hop) * hop
        out["attention_mask"] = (starts < lengths[:, None]).astype(np.int32)
    return out


def whisper_features(values: Values, x: Float[np.ndarray, " S"]) -> Float32[np.ndarray, "F T"]:
    """Log-mel of all of a sound, however long, by the values of WhisperFeatureExtractor; T is
    S // hop_length."""
    size, hop = values["n_fft"], values["hop_length"]
    bins, rate = values["feature_size"], values["sampling_rate"]
    filters = CONVENTIONS["whisper"].filters(1 + size // 2, bins, rate)
    energies = mel_energies(x, np.hanning(size + 1)[:-1], filters, hop, centred=True)[:-1]
    loudness = np.log10(np.maximum(energies, 1e-10))
    return np.float32((np.maximum(loudness, loudness.max() - 8.0).T + 4.0) / 4.0)


def _ast(
    values: Values, sounds: Sequence[np.ndarray], seed: int, alone: bool
) -> dict[str, np.ndarray]:
    del seed, alone
    count, bins = values["max_length"], values["num_mel_bins"]
    filters = CONVENTIONS["kaldi"].filters(257, bins, values["sampling_rate"])
    features = np.zeros((len(sounds), count, bins), np.float32)
    for row, x in zip(features, sounds, strict=True):
        window = np.hanning(400)
        energies = mel_energies(x, window, filters, 160, centred=False, preemphasis=0.97)[:count]
        row[: len(energies)] = np.log(np.maximum(energies, np.finfo(np.float32).eps))
    if values["do_normalize"]:
        features = (features - np.float32(values["mean"])) / np.float32(2 * values["std"])
    return {"input_values": features}


def _wav2vec2(
    values: Values, sounds: Sequence[np.ndarray], seed: int, alone: bool
) -> dict[str, np.ndarray]:
    del seed
    out = padded(sounds, max(map(len, sounds)))
    masked = values["return_attention_mask"]
    lengths = [len(x) if masked or alone else out.shape[1] for x in sounds]
    if values["do_normalize"]:
        # Of a batch without a mask the padding counts, as in the original.
        for row, length in zip(out, lengths, strict=True):
            real = row[:length]
            real[:] = (real - real.mean()) / np.sqrt(real.var() + 1e-7)
    mask = np.arange(out.shape[1]) < np.array(lengths)[:, None]
    return {"input_values": out} | ({"attention_mask": mask.astype(np.int32)} if masked else {})


def _clap(
    values: Values, sounds: Sequence[np.ndarray], seed: int, alone: bool
) -> dict[str, np.ndarray]:
    random = np.random.RandomState(seed)
    fused = values["truncation"] == "fusion"
    size, hop, rate = values["fft_window_size"], values["hop_length"], values["sampling_rate"]
    most = int(values["max_length_s"] * rate)
    band = values["frequency_min"], values["frequency_max"]
    filters = band_filters(1 + size // 2, values["feature_size"], rate, *band, slaney=not fused)
    window = np.hanning(size + 1)[:-1]

    def decibels(x: np.ndarray) -> np.ndarray:
        energies = mel_energies(x, window, filters, hop, centred=True)
        return (10 * np.log10(np.maximum(energies, 1e-10))).astype(np.float32)

    features, longer = [], []
    for x in sounds:
        random = np.random.RandomState(seed) if alone else random
        if len(x) > most and not fused:
            start = random.randint(0, len(x) - most + 1)
            x = x[start : start + most]
            longer.append(True)
        else:
            longer.append(len(x) > most and len(x) // hop > most // hop)
        spectrogram = decibels(_filled(x, most, values["padding"]))
        parts = [spectrogram] * (4 if fused else 1)
        if fused and longer[-1]:
            parts = _fused(spectrogram, most // hop + 1, random)
        features.append(np.stack(parts))
    if fused and not any(longer) and not alone:
        longer[random.randint(0, len(longer))] = True
    return {"input_features": np.stack(features), "is_longer": np.array(longer)[:, None]}


def _filled(x: np.ndarray, most: int, padding: str) -> np.ndarray:
    """A shorter sound, repeated and padded with silence to `most` samples."""
    if len(x) >= most:
        return x
    times = most // len(x)
    repeats = {"repeat": times + 1, "repeatpad": times, "pad": 1}[padding]
    x = np.tile(x, repeats)[:most]
    return np.pad(x, (0, most - len(x)))


def _fused(
    spectrogram: np.ndarray, count: int, random: np.random.RandomState
) -> Sequence[np.ndarray]:
    """The whole shrunk to `count` frames, and a part from each third (Wu et al. 2023, CLAP)."""
    thirds = np.array_split(np.arange(len(spectrogram) - count + 1), 3)
    starts = [random.choice(third if len(third) else [0]) for third in thirds]
    scale = np.float32(len(spectrogram)) / np.float32(count)
    places = np.maximum(scale * (np.arange(count, dtype=np.float32) + 0.5) - 0.5, 0)
    low = places.astype(int)
    high = np.minimum(low + 1, len(spectrogram) - 1)
    share = (places - low.astype(np.float32))[:, None].astype(np.float32)
    shrunk = (1 - share) * spectrogram[low] + share * spectrogram[high]
    return [shrunk, *(spectrogram[start : start + count] for start in starts)]


_EXTRACTORS: Mapping[str, Extractor] = {
    "ASTFeatureExtractor": _ast,
    "ClapFeatureExtractor": _clap,
    "Wav2Vec2FeatureExtractor": _wav2vec2,
    "WhisperFeatureExtractor": _whisper,
}
