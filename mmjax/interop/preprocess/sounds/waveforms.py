"""Reading sounds, and their mel energies: numpy in float64, as the extractors of transformers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from mmjax.data.readers.content import is_content, named
from mmjax.data.readers.lengths import finite, read_file
from mmjax.errors import UserError
from mmjax.nn.audio.mel import SCALES


def read(
    value: Any, rate: int, sampling_rate: int | None, name: str = "sound array"
) -> Float32[np.ndarray, " S"]:
    """One sound at `rate` Hz, in one channel.

    Args:
        value: a path, the bytes of a file or an open one, of which channels are averaged and
            another rate is resampled; or an array of floats [S], -1..1.
        rate: what the model takes, in Hz.
        sampling_rate: of an array, in Hz.
        name: of an array, for messages; a file is called by its path.

    Raises:
        UserError: a file that cannot be read, an array of another shape or type or rate, an empty
            one, or one with numbers that are not finite.
    """
    if is_content(value):
        samples, name = read_file(value, rate), named("sound file", value)
    else:
        samples = finite(_from_array(value, rate, sampling_rate, name), name)
    if not samples.size:
        raise UserError(f"{name}: no samples")
    return samples


def _from_array(value: Any, rate: int, sampling_rate: int | None, name: str) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise UserError(f"{name}: expected a path or an array [S], not {type(value).__name__}")
    if value.ndim != 1:
        raise UserError(f"{name} has shape {list(value.shape)}: pass one channel, [S]")
    if value.dtype.kind != "f":
        raise UserError(f"{name} is {value.dtype}: pass floats in -1..1, int16 / 32768")
    if sampling_rate != rate:
        given = "without sampling_rate" if sampling_rate is None else f"at {sampling_rate} Hz"
        raise UserError(
            f"{name} {given}: this model takes {rate} Hz; pass sampling_rate={rate} if it is,"
            " else resample it or pass the file"
        )
    return value


def mel_energies(
    waveform: Float[np.ndarray, " S"],
    window: Float[np.ndarray, " size"],
    filters: Float[np.ndarray, "bins F"],
    hop: int,
    *,
    centred: bool,
    preemphasis: float = 0.0,
) -> Float[np.ndarray, "T F"]:
    """The energy of each frame through each filter.

    Args:
        waveform: -1..1.
        window: of one frame.
        filters: of `bins` frequencies from 0 Hz to half the sample rate; the Fourier transform has
            2 * (bins - 1) samples, zero after those of the window.
        hop: samples from frame to frame.
        centred: frame t is centred on sample t * hop, the ends are reflected. Else it starts there.
        preemphasis: of Kaldi: where not 0, the mean of each frame is subtracted, and then
            `preemphasis` times the sample before, or itself for the first.
    """
    x = waveform.astype(np.float64)
    if centred:
        x = np.pad(x, len(window) // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(x, len(window))[::hop]
    if preemphasis:
        frames = frames - frames.mean(axis=1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        frames = frames - preemphasis * before
    spectrum = np.fft.rfft(frames * window, 2 * (filters.shape[0] - 1))
    return np.abs(spectrum) ** 2 @ filters


def band_filters(
    bins: int, count: int, rate: int, lowest: float, highest: float, *, slaney: bool
) -> Float[np.ndarray, "bins F"]:
    """Triangles evenly spaced in mel between two frequencies, with straight sides over Hz.

    `mmjax.nn.audio.mel.mel_filters` with an upper end below half the sample rate, as CLAP has it.

    Args:
        bins: frequencies of the spectrum, evenly from 0 to rate / 2.
        count: F, how many triangles.
        rate, lowest, highest: in Hz.
        slaney: Slaney's scale and equal areas; else the scale of HTK and heights of 1.
    """
    scale = SCALES["slaney" if slaney else "htk"]
    corners = scale.hertz(np.linspace(*scale.mel(np.array([lowest, highest])), count + 2))
    spectrum = np.linspace(0.0, rate / 2, bins)[:, None]
    rise = (spectrum - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - spectrum) / (corners[2:] - corners[1:-1])
    filters = np.maximum(np.minimum(rise, fall), 0.0)
    return filters * (2.0 / (corners[2:] - corners[:-2])) if slaney else filters


def padded(rows: Sequence[np.ndarray], width: int) -> Float32[np.ndarray, "B width"]:
    """Rows cut or filled with zeros to one width."""
    out = np.zeros((len(rows), width), np.float32)
    for row, x in zip(out, rows, strict=True):
        row[: len(x)] = x[:width]
    return out
