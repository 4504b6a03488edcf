"""What every audio encoder does first."""

import inspect
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.errors import UserError
from mmjax.nn.audio.spec_augment import spec_augment
from mmjax.nn.audio.spectrogram import log_mel
from mmjax.nn.layers.options import choose

SPEC_AUGMENT_OPTIONS = {
    name: parameter
    for name, parameter in inspect.signature(spec_augment).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
}


def front_end(
    encoder: Any, value: Shaped[Array, "B S"], mask: Bool[Array, "B S"] | None
) -> tuple[Float[Array, "B T F"], Bool[Array, "B T"]]:
    """The log-mel spectrogram of a waveform, and which frames are real.

    Args:
        encoder: its `convention`, `sample_rate` and `mel_bins` say which (see
            `mmjax.nn.audio.spectrogram.log_mel`).
        value, mask: the waveform, and which samples are real.

    Raises:
        UserError: not float32, an unknown convention, or shorter than one window.
    """
    if value.dtype != jnp.float32:
        raise UserError(
            f"audio: expected a float32 waveform with values -1 to 1, got {value.dtype}"
            " (int16 samples: divide by 32768)"
        )
    return log_mel(
        value,
        mask,
        convention=encoder.convention,
        sample_rate=encoder.sample_rate,
        bins=encoder.mel_bins,
    )


def augment(
    encoder: Any, x: Float[Array, "B T F"], mask: Bool[Array, "B T"], deterministic: bool
) -> Float[Array, "B T F"]:
    """SpecAugment in training, if the encoder's `spec_augment` gives options of it.

    Its keys are of the rng collection "dropout".

    Raises:
        UserError: an option that SpecAugment does not have.
    """
    options = encoder.spec_augment
    if options is None:
        return x
    for name in options:
        choose(SPEC_AUGMENT_OPTIONS, name, "option of spec_augment")
    if deterministic:
        return x
    return spec_augment(encoder.make_rng("dropout"), x, mask, **options)
