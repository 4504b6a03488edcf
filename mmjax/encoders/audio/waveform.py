"""What every audio encoder does first."""

import inspect
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.encoder import Encoder
from mmjax.errors import UserError
from mmjax.nn.audio.spec_augment import spec_augment
from mmjax.nn.audio.spectrogram import log_mel
from mmjax.nn.layers.options import choose
from mmjax.types import Tokens

SPEC_AUGMENT_OPTIONS = {
    name: parameter
    for name, parameter in inspect.signature(spec_augment).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
}


class AudioEncoder(Encoder, kw_only=True):
    """An encoder of waveforms; its `encode` gets log-mel spectrograms [B T F], and which frames are
    real [B T].

    Attributes:
        convention, sample_rate, mel_bins: of the spectrogram; see
            `mmjax.nn.audio.spectrogram.log_mel`.
        spec_augment: mapping of options of `mmjax.nn.audio.spec_augment.spec_augment`, used in
            training. None: no SpecAugment.
    """

    convention: str = "whisper"
    sample_rate: int = 16_000
    mel_bins: int = 80
    spec_augment: Any = None

    def prepared(
        self, value: Shaped[Array, "B S"], mask: Bool[Array, "B S"] | None, deterministic: bool
    ) -> tuple[Float[Array, "B T F"], Bool[Array, "B T"]]:
        """Waveforms [B S] and which samples are real -> spectrograms, in training augmented."""
        x, real = self.spectrogram(value, mask)
        return self.augmented(x, real, deterministic), real

    def from_log_mel(
        self,
        log_mel: Float[Array, "B T F"],
        mask: Bool[Array, "B T"],
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """The same from a log-mel spectrogram and its real frames."""
        return self.encode(log_mel, mask, deterministic)

    def spectrogram(
        self, value: Shaped[Array, "B S"], mask: Bool[Array, "B S"] | None
    ) -> tuple[Float[Array, "B T F"], Bool[Array, "B T"]]:
        """The log-mel spectrogram of a waveform and its real samples, and which frames are real.

        Raises:
            UserError: not float32, an unknown convention, or shorter than one window.
        """
        if value.dtype != jnp.float32:
            raise UserError(
                f"audio: expected a float32 waveform with values -1 to 1, got {value.dtype}"
                " (int16 samples: divide by 32768)"
            )
        options = {"sample_rate": self.sample_rate, "bins": self.mel_bins}
        return log_mel(value, mask, convention=self.convention, **options)

    def augmented(
        self, x: Float[Array, "B T F"], mask: Bool[Array, "B T"], deterministic: bool
    ) -> Float[Array, "B T F"]:
        """SpecAugment in training, if there are options of it.

        Its keys are of the rng collection "dropout".

        Raises:
            UserError: an option that SpecAugment does not have.
        """
        options = self.spec_augment
        if options is None:
            return x
        for name in options:
            choose(SPEC_AUGMENT_OPTIONS, name, "option of spec_augment")
        if deterministic:
            return x
        return spec_augment(self.make_rng("dropout"), x, mask, **options)
