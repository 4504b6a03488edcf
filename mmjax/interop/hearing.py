"""Waveforms -> the inputs of published audio models, in the graph; see `encoder.PREPARE`."""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.nn.masking import zero_masked
from mmjax.nn.spectrogram import AUDIOSET_MEAN, AUDIOSET_STD, log_mel, strided_mask
from mmjax.types import UserError

RATE = 16_000  # Hz, of all these models


def check(value: Shaped[Array, "B S"]) -> None:
    """Raises UserError for a waveform that is not float32."""
    if value.dtype != jnp.float32:
        raise UserError(
            f"audio: expected a float32 waveform with values -1 to 1 at {RATE} Hz, got"
            f" {value.dtype} (int16 samples: divide by 32768)"
        )


def whisper(
    value: Float[Array, "B S"], mask: Bool[Array, "B S"] | None, *, bins: int
) -> tuple[dict[str, Array], Bool[Array, "B N"]]:
    """input_features [B F T], as long as the waveforms are; what is masked is silence.

    The published models were trained on 30 s, silence included, which they attend to.
    """
    check(value)
    heard = functools.partial(log_mel, convention="whisper", sample_rate=RATE, bins=bins)
    mask = jnp.ones(value.shape, bool) if mask is None else mask
    silent = jnp.where(mask, value, 0.0)
    # Masked frames would be zeros, which no silence is.
    (x, _), (_, real) = heard(silent, None), heard(silent, mask)
    tokens = strided_mask(real, 2, -(-x.shape[1] // 2))
    return {"input_features": jnp.swapaxes(x, 1, 2)}, tokens


def ast(
    value: Float[Array, "B S"],
    mask: Bool[Array, "B S"] | None,
    *,
    bins: int,
    frames: int,
    mean: float = AUDIOSET_MEAN,
    std: float = AUDIOSET_STD,
) -> tuple[dict[str, Array], Bool[Array, " B"]]:
    """input_values [B T F], cut or padded with zeros before they are normalised, as AST pads.

    Args:
        value, mask: the waveform, and which samples are real.
        bins, frames: F and T of the model.
        mean, std: of its log-mel features, by which it was trained: (x - mean) / (2 std).
    """
    check(value)
    x, real = log_mel(value, mask, convention="kaldi", sample_rate=RATE, bins=bins)
    x = zero_masked(x * (2 * AUDIOSET_STD) + AUDIOSET_MEAN, real)[:, :frames]
    x = jnp.pad(x, ((0, 0), (0, frames - x.shape[1]), (0, 0)))
    return {"input_values": (x - mean) / (2 * std)}, jnp.any(real, axis=1)
