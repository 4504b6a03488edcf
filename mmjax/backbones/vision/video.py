"""Transformers over clips as published: VideoMAE (Tong et al. 2022,
https://arxiv.org/abs/2203.12602) and ViViT (Arnab et al. 2021, https://arxiv.org/abs/2103.15691)."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from mmjax.backbones.stack import as_mask, with_states
from mmjax.errors import UserError
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import activation, choose
from mmjax.nn.layers.positions import sinusoids
from mmjax.nn.layers.transformer import Transformer

POOL_EPSILON = 1e-5  # PyTorch's own, of VideoMAE's fc_norm


def _dense(tower: "VideoTower", x: Array) -> Array:
    pooler = Dense(tower.pooler_width or tower.width, dtype=tower.dtype, name="pooler")
    return activation(tower.pooler_activation)(pooler(x[:, 0]))


POOLINGS: Mapping[str, Callable[["VideoTower", Array], Array]] = {
    "first": lambda _, x: x[:, 0],
    "first_dense": _dense,
    "mean_norm": lambda _, x: LayerNorm(POOL_EPSILON, name="pooled_norm")(jnp.mean(x, axis=1)),
}


class VideoTower(nn.Module):
    """pixel_values [B T C H W] -> last_hidden_state [B N D], pooler_output [B D] if it has one.

    Tokens are in the order time, row, column, after the class token if there is one.

    Attributes:
        width, layers, heads, mlp_width: of the transformer.
        clip: (T, H, W), the only size of clip that the positions are for.
        tubelet: frames, rows and columns of a tubelet.
        channels: C.
        activation, epsilon, qkv_bias: of the blocks.
        learned: whether a class token leads the tubelets and positions are learned (ViViT), or
            there is none and positions are fixed sinusoids (VideoMAE).
        closing_norm: whether a norm follows the last block.
        pooling: a name in POOLINGS; None: there is no pooler_output.
        pooler_width, pooler_activation: of the "first_dense" pooling. None: D.
        dropout: share dropped in training, of the input and in the blocks.
        dtype: type of the computation.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    clip: tuple[int, int, int]
    tubelet: tuple[int, int, int]
    channels: int = 3
    activation: str = "gelu_exact"
    epsilon: float = 1e-12
    qkv_bias: bool = True
    learned: bool = False
    closing_norm: bool = True
    pooling: str | None = None
    pooler_width: int | None = None
    pooler_activation: str = "tanh"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        pixel_values: Float[Array, "B T C H W"],
        attention_mask: Shaped[Array, "B N"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """`attention_mask` is one of tokens.

        Raises:
            UserError: a clip of another size, or of other channels.
        """
        x = nn.Dropout(self.dropout, deterministic=deterministic)(self.embed(pixel_values))
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
        x = states[-1]
        if self.closing_norm:
            x = LayerNorm(self.epsilon, name="norm")(x).astype(self.dtype)
        outputs = {"last_hidden_state": x}
        if self.pooling is not None:
            pooled = choose(POOLINGS, self.pooling, "pooling")(self, x)
            outputs["pooler_output"] = pooled.astype(self.dtype)
        return with_states(outputs, states, output_hidden_states)

    def embed(self, pixel_values: Array) -> Float[Array, "B N D"]:
        """The tokens that the first block gets."""
        rows, frames, channels, *size = pixel_values.shape
        if (frames, *size) != self.clip or channels != self.channels:
            given, wanted = (
                f"{t} frames of {y}x{x} and {c} channels"
                for t, y, x, c in ((frames, *size, channels), (*self.clip, self.channels))
            )
            raise UserError(
                f"pixel_values: {given}, but the model takes {wanted}: sample and resize the clips"
            )
        x = tubelets(jnp.moveaxis(pixel_values, 2, 4), self.tubelet)
        x = Dense(self.width, dtype=self.dtype, name="tubelets")(x)
        if not self.learned:
            return x + jnp.asarray(sinusoids(x.shape[1], self.width), self.dtype)

        def table(name: str, count: int) -> Array:
            shape = (count, self.width)
            found = self.param(name, nn.initializers.normal(0.02), shape, jnp.float32)
            return found.astype(self.dtype)

        first = jnp.broadcast_to(table("class_token", 1), (rows, 1, self.width))
        x = jnp.concatenate([first, x], axis=1)
        return x + table("positions", x.shape[1])


def tubelets(
    video: Float[Array, "B T H W C"], sides: tuple[int, int, int]
) -> Float[Array, "B N features"]:
    """Blocks of frames, rows and columns, flat; what is left after the last whole one is cut off.

    Features are in the order frame, row, column, channel.
    """
    rows, *size, channels = video.shape
    t, y, x = (length // side for length, side in zip(size, sides, strict=True))
    video = video[:, : t * sides[0], : y * sides[1], : x * sides[2]]
    cut = video.reshape(rows, t, sides[0], y, sides[1], x, sides[2], channels)
    cut = jnp.transpose(cut, (0, 1, 3, 5, 2, 4, 6, 7))
    return cut.reshape(rows, t * y * x, -1)
