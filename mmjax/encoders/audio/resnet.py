"""Residual network over spectrograms (Hershey et al. 2017, https://arxiv.org/abs/1609.09430)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.backbones.vision.resnet import ResNet, stages_of
from mmjax.encoders.audio.waveform import augment, front_end
from mmjax.nn.audio.spectrogram import strided_mask
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose, shared
from mmjax.types import Tokens

STRIDES = {"small": 8, "standard": 32}  # frames to a step of the last map, by stem


class SpectrogramResNet(nn.Module):
    """Waveforms [B S] -> a token for each step in time of the last map of a residual network.

    The spectrogram is a picture of one channel; the last map is averaged over frequency. With the
    standard stem a step is 32 frames (0.32 s), with the small one 8.

    Attributes:
        width: D of the tokens; a dense layer takes the last channels there.
        depth, norm, stem, channels: of the trunk; see `mmjax.backbones.vision.resnet`.
        convention, sample_rate, mel_bins: of the spectrogram; see
            `mmjax.nn.audio.spectrogram.log_mel`.
        spec_augment: mapping of options of `mmjax.nn.audio.spec_augment.spec_augment`, used in
            training.
            None: no SpecAugment.
        dropout: share dropped of what enters the last dense layer.
        dtype: type of the computation; spectrogram and norms are in float32.
    """

    width: int
    depth: int = 18
    norm: str = "batch"
    stem: str = "standard"
    channels: int = 64
    convention: str = "whisper"
    sample_rate: int = 16_000
    mel_bins: int = 64
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
        """Waveforms [B S] and which samples are real -> Tokens [B N D].

        A token is real if any of its own frames is (see `strided_mask`).

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
        x = zero_masked(log_mel, mask).astype(self.dtype)[..., None]
        stages = stages_of(self.depth, self.channels)
        trunk = ResNet(stages, **shared(self, ResNet), name="trunk")
        x = trunk.encode(x, jnp.any(mask, axis=1), deterministic=deterministic)[-1]
        x = jnp.mean(x, axis=2, dtype=jnp.float32).astype(self.dtype)
        real = strided_mask(mask, choose(STRIDES, self.stem, "stem"), x.shape[1])
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        return Tokens(zero_masked(x, real), real)
