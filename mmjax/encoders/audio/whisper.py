"""The encoder of Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356)."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.backbones.audio.whisper import STRIDES, WhisperBackbone
from mmjax.encoders.audio.waveform import AudioEncoder
from mmjax.nn.audio.spectrogram import strided_mask
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose, shared
from mmjax.types import Tokens


class Size(NamedTuple):
    """Of the trunk: its width, number of blocks and of attention heads."""

    width: int
    layers: int
    heads: int


SIZES: Mapping[str, Size] = {
    "tiny": Size(384, 4, 6),
    "base": Size(512, 6, 8),
    "small": Size(768, 12, 12),
    "medium": Size(1024, 24, 16),
    "large": Size(1280, 32, 20),
}


class WhisperEncoder(AudioEncoder):
    """Waveforms [B S] -> a token for every second frame: 50 tokens a second.

    The log-mel front end and a `mmjax.backbones.audio.whisper.WhisperBackbone` with sinusoidal
    positions. The published models take exactly 30 s, padded with silence that they attend to: for
    their outputs, pad with zeros and give no mask.

    Attributes:
        size: a name in SIZES: width, layers and heads of the trunk; a dense layer takes it to
            `width` if that is another. None: `width`, 4 layers, 4 heads.
        layers, heads: of the transformer. None: those of `size`.
        activation: of convolutions and transformer.
    """

    size: str | None = None
    layers: int | None = None
    heads: int | None = None
    activation: str = "gelu_exact"

    def setup(self):
        given = Size(self.width, 4, 4) if self.size is None else choose(SIZES, self.size, "size")
        own = {name: x for name, x in shared(self, WhisperBackbone).items() if x is not None}
        own |= {"width": given.width, "mlp_width": 4 * given.width}
        own |= {"convolution_activation": self.activation}
        self.backbone = WhisperBackbone(**given._asdict() | own)
        nn.share_scope(self, self.backbone)
        other = given.width != self.width
        self.projection = Dense(self.width, dtype=self.dtype) if other else None

    def encode(self, x: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B N D] of a log-mel spectrogram, N = ceil(T / 2)."""
        found = self.backbone(jnp.swapaxes(x, 1, 2), mask, deterministic=deterministic)
        x = found["last_hidden_state"]
        x = x if self.projection is None else self.projection(x)
        mask = strided_mask(mask, math.prod(STRIDES), x.shape[1])
        return Tokens(zero_masked(x, mask), mask)
