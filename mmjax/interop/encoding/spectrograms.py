"""Sounds for models of pictures: a spectrogram is a grey picture.

Networks trained on photographs are a better start for spectrograms than random weights (Palanisamy
et al. 2020, https://arxiv.org/abs/2007.11154; Gong et al. 2021, https://arxiv.org/abs/2104.01778).
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from mmjax.interop.encoding.front_ends import check
from mmjax.nn.audio.spectrogram import log_mel
from mmjax.nn.layers.masking import zero_masked

BINS, SIDE = 64, 32  # the height is a multiple of SIDE, as patches and strides want it


def draw(
    value: Float[Array, "B S"], mask: Bool[Array, "B S"] | None, *, sample_rate: int
) -> tuple[UInt8[Array, "B H 64 3"], Bool[Array, " B"]]:
    """Waveforms -> pictures of them, and which there are: time goes down, pitch to the right.

    A pixel is the log-mel energy of 10 ms in one of 64 bands, from 0 at 80 dB under the loudest of
    the sound to 255. What is masked is black, and so are the up to 31 rows that fill the last 32.

    Args:
        value, mask: the waveform, and which samples are real.
        sample_rate: in Hz.

    Raises:
        UserError: not float32, or shorter than 25 ms.
    """
    check(value, sample_rate)
    x, real = log_mel(value, mask, convention="whisper", sample_rate=sample_rate, bins=BINS)
    loudest = jnp.max(jnp.where(real[..., None], x, -jnp.inf), axis=(1, 2), keepdims=True)
    # This convention has (log10 + 4) / 4, so that 80 dB are 2.
    level = jnp.round(255 * jnp.clip((x - loudest) / 2 + 1, 0, 1))
    level = zero_masked(level, real).astype(jnp.uint8)
    level = jnp.pad(level, ((0, 0), (0, -x.shape[1] % SIDE), (0, 0)))
    return jnp.broadcast_to(level[..., None], (*level.shape, 3)), jnp.any(real, axis=1)


def seen(
    value: Float[Array, "B S"],
    mask: Bool[Array, "B S"] | None,
    *,
    sample_rate: int,
    see: Callable[[Array, Array], tuple[dict[str, Any], Array]],
) -> tuple[dict[str, Any], Array]:
    """Waveforms -> what `see` makes of the pictures of them; see `draw`."""
    return see(*draw(value, mask, sample_rate=sample_rate))
