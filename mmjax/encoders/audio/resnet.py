"""Residual network over spectrograms (Hershey et al. 2017, https://arxiv.org/abs/1609.09430)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.backbones.vision.resnet import ResNet, stages_of
from mmjax.encoders.audio.waveform import AudioEncoder
from mmjax.nn.audio.spectrogram import strided_mask
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose, shared
from mmjax.types import Tokens

STRIDES = {"small": 8, "standard": 32}  # frames to a step of the last map, by stem


class SpectrogramResNet(AudioEncoder):
    """Waveforms [B S] -> a token for each step in time of the last map of a residual network.

    The spectrogram is a picture of one channel; the last map is averaged over frequency. With the
    standard stem a step is 32 frames (0.32 s), with the small one 8.

    Attributes:
        width: D of the tokens; a dense layer takes the last channels there.
        depth, norm, stem, channels: of the trunk; see `mmjax.backbones.vision.resnet`.
    """

    depth: int = 18
    norm: str = "batch"
    stem: str = "standard"
    channels: int = 64
    mel_bins: int = 64

    @nn.compact
    def encode(self, x: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B N D] of a log-mel spectrogram; one is real if any of its own frames is (see
        `strided_mask`)."""
        x = zero_masked(x, mask).astype(self.dtype)[..., None]
        stages = stages_of(self.depth, self.channels)
        trunk = ResNet(stages, **shared(self, ResNet), name="trunk")
        x = trunk.encode(x, jnp.any(mask, axis=1), deterministic=deterministic)[-1]
        x = jnp.mean(x, axis=2, dtype=jnp.float32).astype(self.dtype)
        real = strided_mask(mask, choose(STRIDES, self.stem, "stem"), x.shape[1])
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        return Tokens(zero_masked(x, real), real)
