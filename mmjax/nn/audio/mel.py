"""Mel scales and mel filters: constants of a spectrogram, so they are numpy in float64."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mmjax.nn.layers.options import choose


class Scale(NamedTuple):
    """A mel scale: Hz -> mel, and back."""

    mel: Callable[[np.ndarray], np.ndarray]
    hertz: Callable[[np.ndarray], np.ndarray]


def _slaney_mel(hertz: np.ndarray) -> np.ndarray:
    octaves = np.log(np.maximum(hertz, 1000.0) / 1000.0)
    return np.where(hertz < 1000.0, hertz * 3 / 200, 15 + octaves * 27 / np.log(6.4))


def _slaney_hertz(mel: np.ndarray) -> np.ndarray:
    above = 1000.0 * np.exp(np.log(6.4) / 27 * (np.maximum(mel, 15.0) - 15))
    return np.where(mel < 15.0, mel * 200 / 3, above)


SCALES: Mapping[str, Scale] = {
    # Young et al. 2006, The HTK Book: logarithmic, 1000 mel at 1000 Hz.
    "htk": Scale(
        lambda hertz: 2595.0 * np.log10(1.0 + hertz / 700.0),
        lambda mel: 700.0 * (10.0 ** (mel / 2595.0) - 1.0),
    ),
    # Slaney 1998, Auditory Toolbox: linear up to 1000 Hz, logarithmic above.
    "slaney": Scale(_slaney_mel, _slaney_hertz),
}


def mel_filters(
    spectrum_bins: int,
    mel_bins: int,
    sample_rate: int,
    *,
    scale: str = "htk",
    lowest: float = 0.0,
    straight_in: str = "hertz",
    area: bool = False,
) -> Float[np.ndarray, "spectrum F"]:
    """Triangles, evenly spaced in mel from `lowest` to half the sample rate.

    Filter f rises from 0 at point f to 1 at point f + 1 and falls to 0 at point f + 2, of
    mel_bins + 2 points. A triangle narrower than the spacing of the spectrum may miss every bin,
    and is zero then, as in the reference implementations.

    Args:
        spectrum_bins: number of frequencies of the spectrum, evenly from 0 Hz to half the rate.
        mel_bins: F, number of filters.
        sample_rate: in Hz.
        scale: a name in SCALES.
        lowest: where the first triangle starts, in Hz.
        straight_in: whether the sides are straight lines over "hertz" or over "mel".
        area: divide each filter by half its width in Hz, so that all have the same area.

    Raises:
        UserError: an unknown scale or `straight_in`.
    """
    mel, hertz = choose(SCALES, scale, "scale")
    ends = mel(np.array([lowest, sample_rate / 2]))
    points = np.linspace(*ends, mel_bins + 2)
    spectrum = np.linspace(0.0, sample_rate / 2, spectrum_bins)
    corners = hertz(points)
    axes = {"hertz": (spectrum, corners), "mel": (mel(spectrum), points)}
    x, at = choose(axes, straight_in, "straight_in")
    rise = (x[:, None] - at[:-2]) / (at[1:-1] - at[:-2])
    fall = (at[2:] - x[:, None]) / (at[2:] - at[1:-1])
    filters = np.maximum(np.minimum(rise, fall), 0.0)
    return filters * (2.0 / (corners[2:] - corners[:-2])) if area else filters
