"""SigLIP 2 NaFlex (Tschannen et al. 2025, https://arxiv.org/abs/2502.14786): pictures of any shape,
each a list of patches."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from mmjax.backbones.stack import Features, TransformerBackbone, as_mask
from mmjax.backbones.vision.pooling import AttentionHead
from mmjax.errors import UserError
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import shared


class NaFlexViT(TransformerBackbone, kw_only=True):
    """pixel_values [B N P] -> last_hidden_state [B N D], pooler_output [B D] with a head.

    Attributes:
        features: P, the numbers of a patch: row, column, channel.
        side: of the square grid that the positions were learned for.
        head: whether an attention head pools the tokens.
    """

    features: int
    side: int
    activation: str = "gelu"
    epsilon: float = 1e-6
    head: bool = True

    @nn.compact
    def __call__(
        self,
        pixel_values: Float[Array, "B N P"],
        pixel_attention_mask: Shaped[Array, "B N"] | None = None,
        spatial_shapes: Int[Array, "B 2"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """The tokens of the patches.

        Args:
            pixel_values: the patches row by row, those that there are first.
            pixel_attention_mask: 1 for the patches that there are, 0 for the rest, which none
                reads.
            spatial_shapes: rows and columns of patches of each picture; rows * columns is at most
                N.

        Raises:
            UserError: patches of another size, or no spatial_shapes.
        """
        if spatial_shapes is None:
            raise UserError("spatial_shapes: give the rows and columns of patches of each image")
        if pixel_values.shape[2] != self.features:
            raise UserError(
                f"pixel_values: patches of {pixel_values.shape[2]} numbers, but the model takes"
                f" {self.features}: cut the images as its preprocessor does"
            )
        shape = (self.side**2, self.width)
        table = self.param("positions", nn.initializers.normal(0.02), shape, jnp.float32)
        places = resized(table, self.side, spatial_shapes, pixel_values.shape[1])
        x = Dense(self.width, dtype=self.dtype, name="patches")(pixel_values)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x + places.astype(self.dtype))
        mask = as_mask(pixel_attention_mask)
        blocks = self.blocks("blocks", final_norm=False)
        _, states = blocks.with_states(x, mask, deterministic=deterministic)
        x = LayerNorm(self.epsilon, name="norm")(states[-1]).astype(self.dtype)
        pooled = None
        if self.head:
            pooled = AttentionHead(**shared(self, AttentionHead), name="head")(x, mask)
        return Features(x, pooled, states).named(output_hidden_states)


def triangles(
    made: int, wanted: Int[Array, " B"], places: Int[Array, "B N"]
) -> Float[Array, "B N made"]:
    """The weight of each of `made` places of a line in one of `wanted` places of the same line.

    Linear interpolation; where the new line is coarser, its kernel is as wide as its places, as
    PyTorch's `interpolate(mode="bilinear", antialias=True)` and Pillow resize.
    """
    scale = made / wanted[:, None, None].astype(jnp.float32)
    centre = (places[:, :, None] + 0.5) * scale
    distance = jnp.abs(jnp.arange(made) + 0.5 - centre) / jnp.maximum(scale, 1.0)
    weights = jnp.maximum(1.0 - distance, 0.0)
    return weights / jnp.sum(weights, axis=2, keepdims=True)


def resized(
    table: Float[Array, "cells D"], side: int, shapes: Int[Array, "B 2"], count: int
) -> Float[Array, "B N D"]:
    """Positions of a square grid, interpolated to that of each picture, for N = count tokens.

    Tokens after the last one of a picture get the position of its first, as in transformers.
    """
    rows, columns = jnp.maximum(shapes, 1).T
    token = jnp.broadcast_to(jnp.arange(count), (shapes.shape[0], count))
    token = jnp.where(token < (rows * columns)[:, None], token, 0)
    down = triangles(side, rows, token // columns[:, None])
    across = triangles(side, columns, token % columns[:, None])
    weights = (down[..., :, None] * across[..., None, :]).reshape(*token.shape, side * side)
    return jnp.matmul(weights, table, precision=jax.lax.Precision.HIGHEST)
