"""Waveforms at another sampling rate, by a polyphase filter (Vaidyanathan 1990,
https://doi.org/10.1109/5.52200), the one of `scipy.signal.resample_poly`."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mmjax.errors import UserError

LOBES = 10  # of the sinc on either side, at the lower of both rates
BETA = 5.0  # of its Kaiser window
MOST = 2**22  # numbers in all filters


def resample(
    value: Float[Array, "B S"], mask: Bool[Array, "B S"] | None, *, rate: int, target: int
) -> tuple[Float[Array, "B R"], Bool[Array, "B R"] | None]:
    """Waveforms at `rate` -> the same sounds at `target`, and which samples of them are real.

    A sound sounds as if it were alone: what is masked is silence, as is all before its start and
    behind its end. R is the least number of samples that is not shorter than S.

    Args:
        value, mask: float32 waveforms, and which samples are real; None: all.
        rate, target: in Hz.

    Raises:
        UserError: a rate that is no whole number above 0, or two with hardly a common divisor.
    """
    if not all(isinstance(r, int) and r > 0 for r in (rate, target)):
        raise UserError(
            f"a sound cannot be resampled from {rate} to {target} Hz: choose whole numbers above 0"
        )
    up, down = (x // math.gcd(rate, target) for x in (target, rate))
    if up == down:
        return value, mask
    if up * (down + 2 * LOBES) > MOST:
        raise UserError(
            f"from {rate} to {target} Hz, {up} samples come of {down}, each by a filter of its own:"
            " resample the files by common rates, such as 44100 to 16000"
        )
    length = value.shape[1]
    count = -(-length * up // down)
    if mask is not None:
        value = jnp.where(mask, value, 0.0)
        mask = mask[:, np.arange(count) * down // up]
    # A period: `up` samples of the result, each with a filter of its own, of `down` samples read.
    kernel, first = _filters(up, down)
    periods = -(-count // up)
    behind = (periods - 1) * down + len(kernel) - first - length
    y = jax.lax.conv_general_dilated(
        value[..., None],
        jnp.asarray(kernel, value.dtype)[:, None],
        (down,),
        [(first, behind)],
        dimension_numbers=("NHC", "HIO", "NHC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    y = y.reshape(len(value), periods * up)[:, :count]
    return (y if mask is None else jnp.where(mask, y, 0.0)), mask


@functools.lru_cache
def _filters(up: int, down: int) -> tuple[Float[np.ndarray, "W up"], int]:
    """The filter of each of the `up` samples of a period, and how many samples before it they read.

    Sample r of period p is the sum over w of filters[w, r] x[p down + w - before].
    """
    from scipy import signal  # slow to import

    half = LOBES * max(up, down)
    low_pass = up * signal.firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", BETA))
    before = half // up
    reach = ((up - 1) * down + half) // up
    place = half + np.arange(up) * down - np.arange(-before, reach + 1)[:, None] * up
    inside = (place >= 0) & (place <= 2 * half)
    return np.where(inside, low_pass[place.clip(0, 2 * half)], 0.0), before
