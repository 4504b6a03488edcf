"""Transformers over spectrograms: AST (Gong et al. 2021, https://arxiv.org/abs/2104.01778) and the
encoder of Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from mmjax.backbones.stack import as_mask, with_states
from mmjax.errors import UserError
from mmjax.nn.kernels.convolve import Conv
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import gelu_exact
from mmjax.nn.layers.transformer import Transformer

EPSILON = 1e-5  # of all norms of Whisper


class SpectrogramTower(nn.Module):
    """input_values [B T F] -> last_hidden_state [B 2+N D], pooler_output [B D].

    The first two tokens are learned, the class and the distillation token, and the pooled vector is
    their mean; the patches follow, those of one band of frequencies side by side in time.

    Attributes:
        width, layers, heads, mlp_width: of the transformer.
        bins, frames: F and T, the only size of spectrogram that the positions are for.
        patch_size: side of a patch, in bins and in frames.
        strides: from one patch to the next, in bins and in frames.
        activation, epsilon, qkv_bias: of the blocks.
        dropout: share dropped in training, of the input and in the blocks.
        dtype: type of the computation.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    bins: int
    frames: int
    patch_size: int
    strides: tuple[int, int]
    activation: str = "gelu_exact"
    epsilon: float = 1e-12
    qkv_bias: bool = True
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        input_values: Float[Array, "B T F"],
        attention_mask: Shaped[Array, "B N"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """The mask is one of tokens, the two learned ones first.

        Raises:
            UserError: a spectrogram of another size.
        """
        x = nn.Dropout(self.dropout, deterministic=deterministic)(self.embed(input_values))
        _, states = Transformer(
            self.layers,
            self.heads,
            mlp_width=self.mlp_width,
            activation=self.activation,
            epsilon=self.epsilon,
            qkv_bias=self.qkv_bias,
            dropout=self.dropout,
            dtype=self.dtype,
            final_norm=False,
            name="blocks",
        ).with_states(x, as_mask(attention_mask), deterministic=deterministic)
        x = LayerNorm(self.epsilon, name="norm")(states[-1]).astype(self.dtype)
        outputs = {"last_hidden_state": x, "pooler_output": (x[:, 0] + x[:, 1]) / 2}
        return with_states(outputs, states, output_hidden_states)

    def embed(self, input_values: Array) -> Float[Array, "B N D"]:
        """The tokens that the first block gets."""
        rows, *size = input_values.shape
        if tuple(size) != (self.frames, self.bins):
            raise UserError(
                f"input_values: {size[0]} frames of {size[1]} bins, but the model takes"
                f" {self.frames} of {self.bins}: pad or cut the spectrograms"
            )
        image = jnp.swapaxes(input_values, 1, 2)[..., None]
        side = (self.patch_size, self.patch_size)
        none = ((0, 0), (0, 0))
        patches = Conv(self.width, side, self.strides, none, dtype=self.dtype, name="patches")
        x = patches(image).reshape(rows, -1, self.width)

        def learned(name: str, count: int) -> Array:
            shape = (count, self.width)
            table = self.param(name, nn.initializers.normal(0.02), shape, jnp.float32)
            return table.astype(self.dtype)

        firsts = [learned(name, 1) for name in ("class_token", "distillation_token")]
        firsts = [jnp.broadcast_to(token, (rows, 1, self.width)) for token in firsts]
        x = jnp.concatenate([*firsts, x], axis=1)
        return x + learned("positions", x.shape[1])


class WhisperEncoder(nn.Module):
    """input_features [B F T] -> last_hidden_state [B N D], N = ceil(T / 2).

    Attributes:
        width, layers, heads, mlp_width, activation: of the transformer.
        bins: F.
        positions: the most tokens N. The published models were trained with exactly so many, of
            30 s padded with silence; fewer are taken as they are.
        dropout: share dropped in training, of the input and in the blocks.
        dtype: type of the computation.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    bins: int
    positions: int
    activation: str = "gelu_exact"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        input_features: Float[Array, "B F T"],
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """Raises UserError for other bins, or more frames than there are positions for."""
        bins, frames = input_features.shape[1:]
        if bins != self.bins or not 0 < frames <= 2 * self.positions:
            raise UserError(
                f"input_features: {bins} bins of {frames} frames, but the model takes {self.bins}"
                f" of at most {2 * self.positions}: cut the recording into pieces"
            )
        x = jnp.swapaxes(input_features, 1, 2).astype(self.dtype)
        for layer, stride in enumerate((1, 2), start=1):
            conv = nn.Conv(
                self.width, (3,), (stride,), ((1, 1),), dtype=self.dtype, name=f"conv{layer}"
            )
            x = gelu_exact(conv(x))
        shape = (self.positions, self.width)
        places = self.param("positions", nn.initializers.normal(0.02), shape, jnp.float32)
        x = x + places[: x.shape[1]].astype(self.dtype)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        _, states = Transformer(
            self.layers,
            self.heads,
            mlp_width=self.mlp_width,
            activation=self.activation,
            epsilon=EPSILON,
            dropout=self.dropout,
            dtype=self.dtype,
            final_norm=False,
            name="blocks",
        ).with_states(x, deterministic=deterministic)
        x = LayerNorm(EPSILON, name="norm")(states[-1]).astype(self.dtype)
        outputs: dict[str, Any] = {"last_hidden_state": x}
        if output_hidden_states:
            outputs["hidden_states"] = (*states[:-1], x)
        return outputs
