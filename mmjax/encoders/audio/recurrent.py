"""Recurrent audio encoder."""

import flax.linen as nn
from jaxtyping import Array

from mmjax.encoders.audio.waveform import AudioEncoder
from mmjax.encoders.encoder import RecurrentEncoder
from mmjax.types import Tokens


class AudioRecurrent(RecurrentEncoder, AudioEncoder):
    """Waveforms [B S] -> the hidden state after each frame of the spectrogram, 100 a second, or
    after the last."""

    @nn.compact
    def encode(self, x: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B T D], or [B 1 D] for "last"."""
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        return self.states(x.astype(self.dtype), mask, drop, deterministic)
