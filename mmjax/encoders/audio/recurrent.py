"""Recurrent audio encoder."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.audio.waveform import augment, front_end
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.recurrent import OUTPUTS, Recurrent
from mmjax.types import Tokens


class AudioRecurrent(nn.Module):
    """Waveforms [B S] -> the hidden state after each frame of the spectrogram, or after the last.

    Attributes:
        width: D of the tokens and of the state.
        cell: "lstm" or "gru".
        layers: number of layers.
        bidirectional: whether half of the state runs from the end to the start; the last state is
            then the last forward and the first backward one.
        output: "sequence" (a token a frame: 100 a second) or "last" (one token).
        convention, sample_rate, mel_bins: of the spectrogram; see
            `mmjax.nn.audio.spectrogram.log_mel`.
        spec_augment: mapping of options of `mmjax.nn.audio.spec_augment.spec_augment`, used in
            training.
            None: no SpecAugment.
        dropout: share dropped of each layer's output.
        dtype: type of the matrix products; spectrogram and recurrent state are in float32.
    """

    width: int
    cell: str = "lstm"
    layers: int = 1
    bidirectional: bool = False
    output: str = "sequence"
    convention: str = "whisper"
    sample_rate: int = 16_000
    mel_bins: int = 80
    spec_augment: Any = None
    dropout: float = 0.0
    dtype: Any = jnp.float32

    def __call__(
        self,
        value: Shaped[Array, "B S"],
        mask: Bool[Array, "B S"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Waveforms [B S] and which samples are real -> Tokens [B T D], or [B 1 D] for "last".

        Raises:
            UserError: not float32, shorter than a window, or an unknown option.
        """
        x, real = front_end(self, value, mask)
        x = augment(self, x, real, deterministic)
        return self.from_log_mel(x, real, deterministic=deterministic)

    @nn.compact
    def from_log_mel(
        self,
        log_mel: Float[Array, "B T F"],
        mask: Bool[Array, "B T"],
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """The same from a log-mel spectrogram and its real frames."""
        layers = Recurrent(
            self.width,
            self.cell,
            self.layers,
            self.bidirectional,
            self.dropout,
            self.dtype,
            name="recurrent",
        )
        hidden, last = layers(log_mel.astype(self.dtype), mask, deterministic=deterministic)
        x, real = choose(OUTPUTS, self.output, "output")(hidden, last, mask)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        return Tokens(zero_masked(x, real), real)
