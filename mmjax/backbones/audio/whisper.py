"""Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356): log-mel spectrograms to text."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from mmjax.backbones.stack import Features, TransformerBackbone, as_mask
from mmjax.backbones.text.decoder import TextDecoder
from mmjax.errors import UserError
from mmjax.nn.audio.spectrogram import strided_mask
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation

STRIDES = (1, 2)  # of the convolutions


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


class WhisperBackbone(TransformerBackbone, kw_only=True):
    """input_features [B F T] -> last_hidden_state [B N D], N = ceil(T / 2).

    Two convolutions of three frames each, the second with stride 2, positions, and a pre-norm
    transformer, whose norm the last of the hidden states has passed.

    Attributes:
        bins: F. None: any.
        positions: the most tokens N, each with a learned vector. The published models were trained
            with exactly so many, of 30 s padded with silence; fewer are taken as they are. None:
            any number, with sinusoidal positions.
        convolution_activation: after each convolution.
    """

    bins: int | None = None
    positions: int | None = None
    convolution_activation: str = "gelu_exact"

    @nn.compact
    def __call__(
        self,
        input_features: Float[Array, "B F T"],
        mask: Bool[Array, "B T"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """`mask`: which frames are real; a token is if one of its two frames is.

        Raises:
            UserError: other bins, or more frames than there are positions for.
        """
        bins, frames = input_features.shape[1:]
        longest = frames if self.positions is None else 2 * self.positions
        if bins != (self.bins or bins) or not 0 < frames <= longest:
            raise UserError(
                f"input_features: {bins} bins of {frames} frames, but the model takes {self.bins}"
                f" of at most {longest}: cut the recording into pieces"
            )
        x = jnp.swapaxes(input_features, 1, 2)
        x = (x if mask is None else zero_masked(x, mask)).astype(self.dtype)
        for layer, stride in enumerate(STRIDES):
            conv = nn.Conv(
                self.width, (3,), (stride,), ((1, 1),), dtype=self.dtype, name=f"conv_{layer}"
            )
            x = activation(self.convolution_activation)(conv(x))
            if mask is not None:
                mask = strided_mask(mask, stride, x.shape[1])
                # What padding added between the layers would reach the real neighbours.
                x = zero_masked(x, mask)
        x = x + self._places(x.shape[1])
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x, states = self.blocks().with_states(x, mask, deterministic=deterministic)
        return Features(x, None, (*states[:-1], x)).named(output_hidden_states)

    def _places(self, count: int) -> Float[Array, "N D"]:
        if self.positions is None:
            return jnp.asarray(sinusoids(count, self.width), self.dtype)
        shape = (self.positions, self.width)
        table = self.param("positions", nn.initializers.normal(0.02), shape, jnp.float32)
        return table[:count].astype(self.dtype)


class WhisperModel(nn.Module):
    """Spectrograms and token ids -> hidden states of both, and logits [B L V] of the next ids.

    Attributes:
        encoder, decoder: its parts.
    """

    encoder: WhisperBackbone
    decoder: TextDecoder

    def __call__(
        self,
        input_features: Float[Array, "B F T"],
        decoder_input_ids: Int[Array, "B L"] | None = None,
        decoder_attention_mask: Shaped[Array, "B L"] | None = None,
        decoder_position_ids: Int[Array, "b L"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """The outputs of the encoder, and with token ids those of the decoder.

        Raises:
            UserError: too long a recording or a text.
        """
        flags = {"deterministic": deterministic}
        encoded = self.encoder(input_features, output_hidden_states=output_hidden_states, **flags)
        outputs = {f"encoder_{name}": value for name, value in encoded.items()}
        if decoder_input_ids is None:
            return outputs
        found = self.decoder(
            decoder_input_ids,
            encoded["last_hidden_state"],
            as_mask(decoder_attention_mask),
            decoder_position_ids,
            **flags,
        )
        states = found.pop("hidden_states")
        if output_hidden_states:
            outputs["decoder_hidden_states"] = states
        return outputs | found
