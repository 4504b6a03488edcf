"""The encoder of Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.audio.waveform import augment, hear
from mmjax.errors import UserError
from mmjax.nn.audio.spectrogram import strided_mask
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation, choose
from mmjax.nn.layers.transformer import Transformer
from mmjax.types import Tokens

EPSILON = 1e-5  # of all norms of the published models


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


def sinusoids(length: int, width: int) -> Float[np.ndarray, "N D"]:
    """sin(n w_k) for k < D / 2, then cos(n w_k), with w_k falling geometrically from 1 to 1e-4.

    Raises:
        UserError: an odd width, or one under 4.
    """
    if width % 2 or width < 4:
        raise UserError(f"whisper: sinusoidal positions need an even width from 4, got {width}")
    frequencies = 10_000.0 ** -np.linspace(0, 1, width // 2)
    angles = np.outer(np.arange(length), frequencies)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


class WhisperEncoder(nn.Module):
    """Waveforms [B S] -> a token for every second frame: 50 tokens a second.

    Two convolutions of three frames each (the second with stride 2), sinusoidal positions, and a
    pre-norm transformer. The published models hear exactly 30 s, padded with silence that they
    attend to: for their outputs, pad with zeros and give no mask.

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
        x, real = hear(self, value, mask)
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
        given = Size(self.width, 4, 4) if self.size is None else choose(SIZES, self.size, "size")
        layers = given.layers if self.layers is None else self.layers
        heads = given.heads if self.heads is None else self.heads
        act = activation(self.activation)
        x = zero_masked(log_mel, mask).astype(self.dtype)
        for layer, stride in enumerate((1, 2)):
            conv = nn.Conv(
                given.width, (3,), (stride,), ((1, 1),), dtype=self.dtype, name=f"conv_{layer}"
            )
            x = act(conv(x))
            mask = strided_mask(mask, stride, x.shape[1])
            # What padding added between the layers would reach the real neighbours.
            x = zero_masked(x, mask)
        x = x + jnp.asarray(sinusoids(x.shape[1], given.width), self.dtype)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Transformer(
            layers,
            heads,
            dropout=self.dropout,
            dtype=self.dtype,
            activation=self.activation,
            epsilon=EPSILON,
            name="transformer",
        )(x, mask, deterministic=deterministic)
        if given.width != self.width:
            x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        return Tokens(zero_masked(x, mask), mask)
