"""Waveform -> log-mel spectrogram, in the conventions that trained models expect.

Everything is in float32 whatever the type of the computation around it.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mmjax.errors import UserError
from mmjax.nn.audio.mel import mel_filters
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose

WINDOW, HOP = 0.025, 0.010  # seconds, in every convention
AUDIOSET_MEAN, AUDIOSET_STD = -4.2677393, 4.5689974  # of Kaldi features, published with AST


class Convention(NamedTuple):
    """How a waveform becomes a log-mel spectrogram; windows of 25 ms every 10 ms in all of them.

    centred: frame t is centred on sample t * hop, the ends are reflected, and the last frame is
        dropped (S // hop frames). Else it starts there, and only whole windows are frames.
    periodic: whether the period of the Hann window is its length, or one sample less (symmetric).
    fft_size: samples of the window -> samples of the Fourier transform, of which the rest is zero.
    remove_offset: subtract the mean of each frame.
    preemphasis: x_n - preemphasis * x_(n-1) within each frame; x_(-1) is x_0.
    filters: (spectrum bins, mel bins, sample rate) -> the mel filters.
    compress: mel energies [B T F] -> the result [B T F].
    """

    centred: bool
    periodic: bool
    fft_size: Callable[[int], int]
    remove_offset: bool
    preemphasis: float
    filters: Callable[[int, int, int], np.ndarray]
    compress: Callable[[Array], Array]


def _clamped_range(mel: Float[Array, "B T F"]) -> Float[Array, "B T F"]:
    # Masked samples are silent by now, so they cannot be the loudest.
    x = jnp.log10(jnp.maximum(mel, 1e-10))
    loudest = jnp.max(x, axis=(1, 2), keepdims=True)
    return (jnp.maximum(x, loudest - 8.0) + 4.0) / 4.0


def _standardised(mel: Float[Array, "B T F"]) -> Float[Array, "B T F"]:
    x = jnp.log(jnp.maximum(mel, jnp.finfo(jnp.float32).eps))
    return (x - AUDIOSET_MEAN) / (2.0 * AUDIOSET_STD)


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()


CONVENTIONS: Mapping[str, Convention] = {
    # Kaldi's filter banks as AST (Gong et al. 2021) takes them: no scaling to 16-bit integers.
    "kaldi": Convention(
        centred=False,
        periodic=False,
        fft_size=_power_of_two,
        remove_offset=True,
        preemphasis=0.97,
        filters=functools.partial(mel_filters, lowest=20.0, straight_in="mel"),
        compress=_standardised,
    ),
    "plain": Convention(
        centred=False,
        periodic=True,
        fft_size=_power_of_two,
        remove_offset=False,
        preemphasis=0.0,
        filters=mel_filters,
        compress=lambda mel: jnp.log(mel + 1e-6),
    ),
    # Radford et al. 2022: log10, clamped to 80 dB under the loudest.
    "whisper": Convention(
        centred=True,
        periodic=True,
        fft_size=lambda size: size + size % 2,
        remove_offset=False,
        preemphasis=0.0,
        filters=functools.partial(mel_filters, scale="slaney", area=True),
        compress=_clamped_range,
    ),
}


def frames(waveform: Float[Array, "B S"], size: int, hop: int) -> Float[Array, "B T size"]:
    """Frame t holds the samples t * hop to t * hop + size - 1; only whole frames."""
    count = 1 + (waveform.shape[1] - size) // hop
    pieces = -(-size // hop)
    length = (count + pieces - 1) * hop
    padded = jnp.pad(waveform, ((0, 0), (0, max(0, length - waveform.shape[1]))))
    hops = padded[:, :length].reshape(waveform.shape[0], -1, hop)
    return jnp.concatenate([hops[:, i : i + count] for i in range(pieces)], axis=2)[..., :size]


def power_spectrum(x: Float[Array, "*rows size"], fft_size: int) -> Float[Array, "*rows bins"]:
    """|rfft(x, fft_size)|^2, for 0 Hz to half the sample rate.

    Two matrix products with cosines and sines around the middle of x, where the sums and the
    differences of mirrored samples are all that count: half the products of a plain transform. On
    two CPU cores an FFT takes 0.4 times as long, but XLA does not split it: sharded over devices,
    each of them would transform the whole batch. In float32, a mel energy 100 dB under the loudest
    of its frame is off by about 0.04 dB (with an FFT: 0.01 dB).
    """
    size = x.shape[-1]
    half = (size + 1) // 2
    places = np.arange(half) - (size - 1) / 2
    angles = 2 * np.pi / fft_size * np.outer(places, np.arange(fft_size // 2 + 1))
    once = np.where(places == 0, 0.5, 1.0)[:, None]  # the middle of an odd size mirrors itself
    first, second = x[..., :half], x[..., ::-1][..., :half]

    def product(y: Array, kernel: np.ndarray) -> Array:
        flat = y.reshape(-1, half)
        y = jnp.matmul(flat, jnp.asarray(kernel, jnp.float32), precision=jax.lax.Precision.HIGHEST)
        return y.reshape(*x.shape[:-1], -1)

    even = product(first + second, np.cos(angles) * once)
    odd = product(first - second, np.sin(angles))
    return even**2 + odd**2


def strided_mask(mask: Bool[Array, "B N"], stride: int, count: int) -> Bool[Array, "B n"]:
    """Which of `count` windows are real: window i if any of its own `stride` places is.

    Its own are the places i * stride to (i + 1) * stride - 1, however far the window itself
    reaches; the last window also owns all places after them. So each place has one owner, a row
    with a real place has a real window, and padding at the end adds no window.
    """
    length = stride * count
    padded = jnp.pad(mask, ((0, 0), (0, max(0, length - mask.shape[1]))))
    own = jnp.any(padded[:, :length].reshape(mask.shape[0], count, stride), axis=2)
    rest = jnp.any(padded[:, length:], axis=1, keepdims=True)
    return jnp.concatenate([own[:, :-1], own[:, -1:] | rest], axis=1)


def log_mel(
    waveform: Float[Array, "B S"],
    mask: Bool[Array, "B S"] | None = None,
    *,
    convention: str = "whisper",
    sample_rate: int = 16_000,
    bins: int = 80,
) -> tuple[Float[Array, "B T F"], Bool[Array, "B T"]]:
    """The log-mel spectrogram of a waveform, and which of its frames are real.

    A masked sample counts as silence (0), and a frame is real if any of its own hop of samples is
    (see `strided_mask`). For a prefix of n real samples these are the first ceil(n / hop) frames.
    The real frames are those of the reference implementations for the zero-padded waveform; the
    masked ones are zeros here, which is not what silence gives.

    Args:
        waveform: -1..1.
        mask: True for the real samples. None: all are real.
        convention: a name in CONVENTIONS:
            "whisper": (max(x, max(x) - 8) + 4) / 4 with x = log10 of the mel energies;
            "kaldi": (ln(mel) - mean) / (2 std), with mean and std of AudioSet;
            "plain": ln(mel + 1e-6).
        sample_rate: in Hz. Window and hop are rounded to whole samples.
        bins: F, number of mel filters.

    Returns:
        float32 [B T F], exact zeros in masked frames, and the mask [B T].

    Raises:
        UserError: an unknown convention, or a waveform shorter than one window.
    """
    rule = choose(CONVENTIONS, convention, "convention")
    size, hop = round(WINDOW * sample_rate), round(HOP * sample_rate)
    samples = waveform.shape[1]
    if samples < size:
        raise UserError(
            f"audio: {samples} samples are shorter than one window of {size}"
            f" (25 ms at {sample_rate} Hz): give longer waveforms, padded and masked if need be"
        )
    mask = jnp.ones(waveform.shape, bool) if mask is None else mask
    x = jnp.where(mask, waveform, 0.0).astype(jnp.float32)
    if rule.centred:
        x = jnp.pad(x, ((0, 0), (size // 2, size // 2)), mode="reflect")
    x = frames(x, size, hop)
    if rule.centred:
        x = x[:, : samples // hop]
    if rule.remove_offset:
        x = x - jnp.mean(x, axis=2, keepdims=True)
    if rule.preemphasis:
        x = x - rule.preemphasis * jnp.concatenate([x[..., :1], x[..., :-1]], axis=2)
    window = np.hanning(size + 1)[:-1] if rule.periodic else np.hanning(size)
    fft_size = rule.fft_size(size)
    power = power_spectrum(x * jnp.asarray(window, jnp.float32), fft_size)
    filters = jnp.asarray(rule.filters(power.shape[-1], bins, sample_rate), jnp.float32)
    mel = jnp.matmul(power, filters, precision=jax.lax.Precision.HIGHEST)
    real = strided_mask(mask, hop, x.shape[1])
    return zero_masked(rule.compress(mel), real), real
