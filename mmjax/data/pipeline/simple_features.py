"""Features without learning, of each kind of input: what a linear model can read of it.

Each function: (values [B ...], mask) -> float features [B F]; what is masked does not count.
"""

import itertools

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, UInt8

CELLS = 8  # an image is averaged over so many rows and columns of cells
LEVELS = 4  # of each colour in a histogram
FRAME, BANDS = 512, 32  # samples of a frame of sound, and bands of its spectrum
WORDS = 2048  # numbers of words, modulo this
FRAMES = 4  # of a video


def image(
    value: UInt8[np.ndarray, "B H W 3"], mask: Bool[np.ndarray, " B"]
) -> Float[np.ndarray, "B F"]:
    """The mean colours of CELLS x CELLS cells, and a histogram of LEVELS**3 colours."""
    rows = [np.array_split(np.arange(size), CELLS) for size in value.shape[1:3]]
    pixels = value.astype(np.float32) / 255
    cells = [
        pixels[:, y[0] : y[-1] + 1, x[0] : x[-1] + 1].mean(axis=(1, 2))
        for y in rows[0]
        for x in rows[1]
        if len(y) and len(x)
    ]
    levels = np.minimum(value // (256 // LEVELS), LEVELS - 1).astype(int)
    colors = (levels[..., 0] * LEVELS + levels[..., 1]) * LEVELS + levels[..., 2]
    flat = colors.reshape(len(value), -1)
    counts = np.stack([np.bincount(row, minlength=LEVELS**3) for row in flat]) / flat.shape[1]
    return np.concatenate([*cells, counts], axis=1) * mask[:, None]


def audio(
    value: Float32[np.ndarray, "B S"], mask: Bool[np.ndarray, "B S"]
) -> Float[np.ndarray, "B F"]:
    """The mean and deviation over time of the log power in BANDS bands, and the length."""
    frames = max(value.shape[1] // FRAME, 1)
    padded = np.zeros((len(value), frames * FRAME), np.float32)
    there = np.zeros(padded.shape, bool)
    size = min(value.shape[1], padded.shape[1])
    padded[:, :size], there[:, :size] = np.where(mask, value, 0)[:, :size], mask[:, :size]
    power = np.abs(np.fft.rfft(padded.reshape(len(value), frames, FRAME) * np.hanning(FRAME))) ** 2
    edges = np.unique(np.geomspace(1, power.shape[2], BANDS + 1).astype(int))
    bands = np.stack([power[..., a:b].mean(axis=2) for a, b in itertools.pairwise(edges)], axis=2)
    log, real = np.log(bands + 1e-8), there.reshape(len(value), frames, FRAME).any(axis=2)
    mean, deviation = _moments(log, real)
    return np.concatenate([mean, deviation, there.mean(axis=1, keepdims=True)], axis=1)


def text(
    value: Int32[np.ndarray, "B L"], mask: Bool[np.ndarray, "B L"]
) -> Float[np.ndarray, "B F"]:
    """Which words there are: a bag of ids modulo WORDS."""
    found = np.zeros((len(value), WORDS), np.float32)
    rows = np.repeat(np.arange(len(value)), value.shape[1]).reshape(value.shape)
    found[rows[mask], value[mask] % WORDS] = 1
    return found


def vector(
    value: Float32[np.ndarray, "B F"], mask: Bool[np.ndarray, "B F"]
) -> Float[np.ndarray, "B 2*F"]:
    """The features, and which are missing."""
    return np.concatenate([np.where(mask, value, 0), ~mask], axis=1)


def series(
    value: Float32[np.ndarray, "B T F"], mask: Bool[np.ndarray, "B T"]
) -> Float[np.ndarray, "B F"]:
    """Of each feature the mean, deviation, first and last value, and the length."""
    value = np.where(mask[..., None], value, 0)
    last = np.maximum(mask.sum(axis=1) - 1, 0)
    mean, deviation = _moments(value, mask)
    ends = [value[:, 0], value[np.arange(len(value)), last]]
    return np.concatenate([mean, deviation, *ends, mask.mean(axis=1, keepdims=True)], axis=1)


def video(
    value: UInt8[np.ndarray, "B T H W 3"], mask: Bool[np.ndarray, "B T"]
) -> Float[np.ndarray, "B F"]:
    """Those of the images of FRAMES frames, evenly spread, side by side."""
    chosen = np.linspace(0, value.shape[1] - 1, min(FRAMES, value.shape[1])).astype(int)
    return np.concatenate([image(value[:, t], mask[:, t]) for t in chosen], axis=1)


def _moments(x: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and deviation over the second axis, of what is real; 0 where nothing is."""
    count = np.maximum(mask.sum(axis=1), 1)[:, None]
    weights = mask[..., None]
    mean = (x * weights).sum(axis=1) / count
    square = ((x - mean[:, None]) ** 2 * weights).sum(axis=1) / count
    return mean, np.sqrt(square)
