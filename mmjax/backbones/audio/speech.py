"""Small recurrent speech encoders as published: Silero VAD and Resemblyzer."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.backbones.stack import as_mask
from mmjax.errors import UserError
from mmjax.nn.audio.spectrogram import strided_mask
from mmjax.nn.layers.cells import CELLS
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.recurrent import recur

# Of Silero VAD at 16 kHz, in samples: its frames, what it reads before one again, what it reflects
# after one, and its Fourier windows.
FRAME, CONTEXT, REFLECTED = 512, 64, 64
WINDOW, HOP = 256, 128
STRIDES = (1, 2, 2, 1)  # of its four convolutions


class Lstm(nn.Module):
    """An LSTM layer with the two biases of PyTorch's, whose sum is what counts.

    Attributes:
        width: D of the state.
        dtype: type of the matrix products and of the output; the state is in float32.
    """

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B L I"], mask: Bool[Array, "B L"] | None = None
    ) -> Float[Array, "B L D"]:
        """The state after each step; a masked one leaves it as it is."""
        mask = jnp.ones(x.shape[:2], bool) if mask is None else mask
        size = 4 * self.width

        def kernel(name: str, rows: int) -> Array:
            found = self.param(name, nn.initializers.lecun_normal(), (rows, size), jnp.float32)
            return found.astype(self.dtype)

        projected = x.astype(self.dtype) @ kernel("input", x.shape[-1])
        biases = tuple(
            self.param(name, nn.initializers.zeros, (size,), jnp.float32)
            for name in ("input_bias", "recurrent_bias")
        )
        states = recur(
            CELLS["lstm"],
            jnp.swapaxes(projected, 0, 1),
            kernel("recurrent", self.width),
            biases,
            mask.T,
        )
        return jnp.swapaxes(states, 0, 1).astype(self.dtype)


class SileroBackbone(nn.Module):
    """input_values [B S] at 16 kHz -> last_hidden_state [B N D], speech_probs [B N].

    A token is the state after 32 ms, N = ceil(S / 512); the last frame is filled with silence.
    Silero VAD, https://github.com/snakers4/silero-vad.

    Attributes:
        channels: of the four convolutions.
        width: D.
        dtype: type of the computation; the spectrum is in float32.
    """

    channels: tuple[int, int, int, int]
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        input_values: Float[Array, "B S"],
        attention_mask: Shaped[Array, "B S"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """A frame without a sample in the mask leaves the state as it is.

        Raises:
            UserError: no sample, or hidden states of layers, which there are none of.
        """
        del deterministic  # there is no dropout
        if output_hidden_states or not input_values.shape[1]:
            raise UserError("input_values: give samples; this model has no hidden_states")
        rows, length = input_values.shape
        count = -(-length // FRAME)
        x = jnp.pad(input_values, ((0, 0), (CONTEXT, count * FRAME - length)))
        own = x[:, CONTEXT:].reshape(rows, count, FRAME)
        before = x[:, : count * FRAME].reshape(rows, count, FRAME)[..., :CONTEXT]
        x = jnp.concatenate([before, own], axis=2).reshape(rows * count, CONTEXT + FRAME)
        x = jnp.pad(x, ((0, 0), (0, REFLECTED)), mode="reflect")
        bins = WINDOW // 2 + 1
        spectrum = nn.Conv(
            2 * bins, (WINDOW,), (HOP,), "VALID", use_bias=False, dtype=jnp.float32, name="stft"
        )(x[..., None])
        power = spectrum[..., :bins] ** 2 + spectrum[..., bins:] ** 2
        # The square root has no gradient at 0, which is silence.
        x = jnp.where(power > 0, jnp.sqrt(jnp.where(power > 0, power, 1.0)), 0.0)
        for layer, (size, stride) in enumerate(zip(self.channels, STRIDES, strict=True)):
            conv = nn.Conv(size, (3,), (stride,), ((1, 1),), dtype=self.dtype, name=f"conv{layer}")
            x = jax.nn.relu(conv(x))
        mask = as_mask(attention_mask)
        frames = None if mask is None else strided_mask(mask, FRAME, count)
        x = Lstm(self.width, self.dtype, name="lstm")(x.reshape(rows, count, -1), frames)
        logits = Dense(1, dtype=self.dtype, name="speech")(jax.nn.relu(x))[..., 0]
        probabilities = jax.nn.sigmoid(logits.astype(jnp.float32))
        return {"last_hidden_state": x, "speech_probs": probabilities}


class SpeakerBackbone(nn.Module):
    """mels [B T F] -> last_hidden_state [B T D], pooler_output [B E] of length one.

    LSTM layers, and of the last state who speaks: GE2E (Wan et al. 2018,
    https://arxiv.org/abs/1710.10467), as https://github.com/resemble-ai/Resemblyzer has it.

    Attributes:
        bins: F of the mel spectrogram, whose energies are no logarithms.
        width, layers: D of the states, and number of LSTM layers.
        embedding: E.
        dtype: type of the computation.
    """

    bins: int
    width: int
    layers: int
    embedding: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        mels: Float[Array, "B T F"],
        attention_mask: Shaped[Array, "B T"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """Also hidden_states: the input, and the states of each layer.

        Raises:
            UserError: other bins.
        """
        del deterministic  # there is no dropout
        if mels.shape[2] != self.bins:
            raise UserError(f"mels: {mels.shape[2]} bins, but the model takes {self.bins}")
        mask = as_mask(attention_mask)
        states = [mels]
        for layer in range(self.layers):
            lstm = Lstm(self.width, self.dtype, name=f"lstm_{layer}")
            states.append(lstm(states[-1], mask))
        x = jax.nn.relu(Dense(self.embedding, dtype=self.dtype, name="linear")(states[-1][:, -1]))
        x = x.astype(jnp.float32)
        # A vector without a positive number stays zero.
        x = x / jnp.maximum(jnp.sqrt(jnp.maximum(jnp.sum(x**2, -1, keepdims=True), 1e-30)), 1e-15)
        outputs = {"last_hidden_state": states[-1], "pooler_output": x.astype(self.dtype)}
        return {**outputs, "hidden_states": tuple(states)} if output_hidden_states else outputs
