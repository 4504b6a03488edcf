"""Convolutional autoencoder of spectrograms (Masci et al. 2011,
https://doi.org/10.1007/978-3-642-21735-7_7), in one dimension: time."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.audio.waveform import augment, front_end
from mmjax.nn.audio.spectrogram import strided_mask
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation
from mmjax.types import Tokens


class Reconstruction(NamedTuple):
    """What a loss of reconstruction needs.

    tokens: the bottleneck.
    reconstruction, target: the spectrogram from the bottleneck, and the true one, both in float32
        and zero in masked frames.
    mask: which frames are real.
    """

    tokens: Tokens
    reconstruction: Float[Array, "B T F"]
    target: Float[Array, "B T F"]
    mask: Bool[Array, "B T"]


class Halving(nn.Module):
    """Convolutions over three frames with stride 2; each halves the time, rounded up.

    Attributes:
        channels: of each convolution.
        activation: after each.
        dtype: type of the computation.
    """

    channels: tuple[int, ...]
    activation: str
    dtype: Any

    @nn.compact
    def __call__(
        self, x: Float[Array, "B T F"], mask: Bool[Array, "B T"]
    ) -> tuple[Float[Array, "B N channels"], tuple[Bool[Array, "B _"], ...]]:
        """The last map, and the masks of all maps, the input's first."""
        act, masks = activation(self.activation), [mask]
        for layer, channels in enumerate(self.channels):
            conv = nn.Conv(channels, (3,), (2,), ((1, 1),), dtype=self.dtype, name=f"conv_{layer}")
            x = act(conv(x))
            masks.append(strided_mask(masks[-1], 2, x.shape[1]))
            x = zero_masked(x, masks[-1])
        return x, tuple(masks)


class Doubling(nn.Module):
    """The mirror image: convolutions over three places that give two frames for each.

    Attributes:
        channels: of each convolution, the last one's being the mel bins.
        activation: after each but the last.
        dtype: type of the computation.
    """

    channels: tuple[int, ...]
    activation: str
    dtype: Any

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N D"], masks: tuple[Bool[Array, "B _"], ...]
    ) -> Float[Array, "B T F"]:
        """`masks` are those of Halving; each map is cut to the length of its own."""
        for layer, (channels, mask) in enumerate(
            zip(self.channels, reversed(masks[:-1]), strict=True)
        ):
            x = x if layer == 0 else activation(self.activation)(x)
            conv = nn.Conv(2 * channels, (3,), dtype=self.dtype, name=f"conv_{layer}")
            x = conv(x).reshape(x.shape[0], -1, channels)[:, : mask.shape[1]]
            x = zero_masked(x, mask)
        return x


class AudioAutoencoder(nn.Module):
    """Waveforms [B S] -> the tokens that a decoder rebuilds the spectrogram from.

    Calling it gives the tokens, and makes no parameters of the decoder; `reconstruct` makes and
    uses all, so initialise with `method="reconstruct"` to train it. With `spec_augment` it learns
    to rebuild what was hidden (a denoising autoencoder, Vincent et al. 2008).

    Attributes:
        width: D of the tokens.
        channels: of the convolutions; each halves the time, so that with three a token is 0.08 s.
        activation: of the convolutions.
        convention, sample_rate, mel_bins: of the spectrogram; see
            `mmjax.nn.audio.spectrogram.log_mel`.
        spec_augment: mapping of options of `mmjax.nn.audio.spec_augment.spec_augment`, used in
            training.
            None: no SpecAugment.
        dropout: share dropped of what enters the bottleneck.
        dtype: type of the computation; spectrograms are in float32.
    """

    width: int
    channels: tuple[int, ...] = (128, 128, 128)
    activation: str = "gelu"
    convention: str = "whisper"
    sample_rate: int = 16_000
    mel_bins: int = 80
    spec_augment: Any = None
    dropout: float = 0.0
    dtype: Any = jnp.float32

    def setup(self) -> None:
        options = (self.activation, self.dtype)
        self.halving = Halving(self.channels, *options)
        self.drop = nn.Dropout(self.dropout)
        self.bottleneck = Dense(self.width, dtype=self.dtype)
        self.doubling = Doubling((*self.channels[-2::-1], self.mel_bins), *options)

    def __call__(
        self,
        value: Shaped[Array, "B S"],
        mask: Bool[Array, "B S"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Waveforms [B S] and which samples are real -> Tokens [B N D].

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
        return self._encode(log_mel, mask, deterministic)[0]

    def reconstruct(
        self,
        value: Shaped[Array, "B S"],
        mask: Bool[Array, "B S"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Reconstruction:
        """The tokens, the spectrogram rebuilt from them, the true one, and which frames are real.

        Raises:
            UserError: as for the call.
        """
        target, real = front_end(self, value, mask)
        x = augment(self, target, real, deterministic)
        tokens, masks = self._encode(x, real, deterministic)
        x = self.doubling(tokens.x, masks).astype(jnp.float32)
        return Reconstruction(tokens, x, target, real)

    def _encode(self, x: Array, real: Array, deterministic: bool) -> tuple[Tokens, tuple]:
        x, masks = self.halving(zero_masked(x, real).astype(self.dtype), real)
        x = self.bottleneck(self.drop(x, deterministic=deterministic))
        return Tokens(zero_masked(x, masks[-1]), masks[-1]), masks
