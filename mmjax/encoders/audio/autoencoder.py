"""Convolutional autoencoder of spectrograms (Masci et al. 2011,
https://doi.org/10.1007/978-3-642-21735-7_7), in one dimension: time."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.encoders.audio.waveform import AudioEncoder
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


class Convolutions(nn.Module):
    """Convolutions over three frames.

    Attributes:
        channels: of each convolution.
        activation: between them.
        dtype: type of the computation.
    """

    channels: tuple[int, ...]
    activation: str
    dtype: Any


class Halving(Convolutions):
    """Convolutions of stride 2, each with an activation; each halves the time, rounded up."""

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


class Doubling(Convolutions):
    """The mirror image: two frames for each place; the last channels are the mel bins."""

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


class AudioAutoencoder(AudioEncoder):
    """Waveforms [B S] -> the tokens that a decoder rebuilds the spectrogram from.

    Calling it gives the tokens, and makes no parameters of the decoder; `reconstruct` makes and
    uses all, so initialise with `method="reconstruct"` to train it. With `spec_augment` it learns
    to rebuild what was hidden (a denoising autoencoder, Vincent et al. 2008).

    Attributes:
        channels: of the convolutions; each halves the time, so that with three a token is 0.08 s.
        activation: of the convolutions.
        dropout: share dropped of what enters the bottleneck.
    """

    channels: tuple[int, ...] = (128, 128, 128)
    activation: str = "gelu"

    def setup(self) -> None:
        options = (self.activation, self.dtype)
        self.halving = Halving(self.channels, *options)
        self.drop = nn.Dropout(self.dropout)
        self.bottleneck = Dense(self.width, dtype=self.dtype)
        self.doubling = Doubling((*self.channels[-2::-1], self.mel_bins), *options)

    def encode(self, x: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B N D] of a log-mel spectrogram."""
        return self._halved(x, mask, deterministic)[0]

    def reconstruct(
        self, value: Array, mask: Array | None = None, *, deterministic: bool = True
    ) -> Reconstruction:
        """The tokens, the spectrogram rebuilt from them, the true one, and which frames are real.

        Raises:
            UserError: as for the call.
        """
        target, real = self.spectrogram(value, mask)
        x = self.augmented(target, real, deterministic)
        tokens, masks = self._halved(x, real, deterministic)
        x = self.doubling(tokens.x, masks).astype(jnp.float32)
        return Reconstruction(tokens, x, target, real)

    def _halved(self, x: Array, real: Array, deterministic: bool) -> tuple[Tokens, tuple]:
        x, masks = self.halving(zero_masked(x, real).astype(self.dtype), real)
        x = self.bottleneck(self.drop(x, deterministic=deterministic))
        return Tokens(zero_masked(x, masks[-1]), masks[-1]), masks
