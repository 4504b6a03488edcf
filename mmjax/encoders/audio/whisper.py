"""The encoder of Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356)."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.backbones.audio.whisper import STRIDES, WhisperBackbone
from mmjax.encoders.audio.waveform import augment, front_end
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


class WhisperEncoder(nn.Module):
    """Waveforms [B S] -> a token for every second frame: 50 tokens a second.

    The log-mel front end and a `mmjax.backbones.audio.whisper.WhisperBackbone` with sinusoidal
    positions. The published models take exactly 30 s, padded with silence that they attend to: for
    their outputs, pad with zeros and give no mask.

    Attributes:
        width: D of the tokens.
        size: a name in SIZES: width, layers and heads of the trunk; a dense layer takes it to
            `width` if that is another. None: `width`, 4 layers, 4 heads.
        layers, heads: of the transformer. None: those of `size`.
        activation: of convolutions and transformer.
        convention, sample_rate, mel_bins: of the spectrogram; see
            `mmjax.nn.audio.spectrogram.log_mel`.
        spec_augment: mapping of options of `mmjax.nn.audio.spec_augment.spec_augment`, used in
            training.
            None: no SpecAugment.
        dropout: share dropped of the transformer's input and branches.
        dtype: type of the computation; spectrogram, norms and softmax are in float32.
    """

    width: int
    size: str | None = None
    layers: int | None = None
    heads: int | None = None
    activation: str = "gelu_exact"
    convention: str = "whisper"
    sample_rate: int = 16_000
    mel_bins: int = 80
    spec_augment: Any = None
    dropout: float = 0.0
    dtype: Any = jnp.float32

    def setup(self):
        given = Size(self.width, 4, 4) if self.size is None else choose(SIZES, self.size, "size")
        own = {name: x for name, x in shared(self, WhisperBackbone).items() if x is not None}
        own |= {"width": given.width, "mlp_width": 4 * given.width}
        own |= {"convolution_activation": self.activation}
        self.backbone = WhisperBackbone(**given._asdict() | own)
        nn.share_scope(self, self.backbone)
        other = given.width != self.width
        self.projection = Dense(self.width, dtype=self.dtype) if other else None

    def __call__(
        self,
        value: Shaped[Array, "B S"],
        mask: Bool[Array, "B S"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Waveforms [B S] and which samples are real -> Tokens [B N D], N = ceil(T / 2).

        Raises:
            UserError: not float32, shorter than a window, or an unknown option.
        """
        x, real = front_end(self, value, mask)
        x = augment(self, x, real, deterministic)
        return self.from_log_mel(x, real, deterministic=deterministic)

    def from_log_mel(
        self,
        log_mel: Float[Array, "B T F"],
        mask: Bool[Array, "B T"],
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """The same from a log-mel spectrogram and its real frames."""
        found = self.backbone(jnp.swapaxes(log_mel, 1, 2), mask, deterministic=deterministic)
        x = found["last_hidden_state"]
        x = x if self.projection is None else self.projection(x)
        mask = strided_mask(mask, math.prod(STRIDES), x.shape[1])
        return Tokens(zero_masked(x, mask), mask)
