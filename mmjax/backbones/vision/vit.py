"""Vision transformers as published: CLIP, SigLIP, ViT, DINOv2 and their relatives."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from mmjax.backbones.stack import with_states
from mmjax.errors import UserError
from mmjax.nn.layers.attention import attention, merge_heads, split_heads, split_projections
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.embedding import PatchEmbedding, resize_positions
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import activation, choose
from mmjax.nn.layers.transformer import Transformer


class AttentionHead(nn.Module):
    """One learned query reads all tokens, then an mlp: SigLIP's pooling (Zhai et al. 2023,
    https://arxiv.org/abs/2303.15343).

    Attributes:
        heads, mlp_width, activation, epsilon, dtype: as of the transformer.
    """

    heads: int
    mlp_width: int
    activation: str
    epsilon: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"], mask: Array | None = None) -> Float[Array, "B D"]:
        """Tokens and which are real -> one vector."""
        width = x.shape[-1]
        probe = self.param("probe", nn.initializers.normal(0.02), (1, 1, width), jnp.float32)
        probe = jnp.broadcast_to(probe.astype(self.dtype), (x.shape[0], 1, width))
        # As in PyTorch one matrix for all three, of which the query needs only its part.
        init = nn.initializers.lecun_normal()
        kernel = self.param("qkv_kernel", init, (width, 3 * width), jnp.float32)
        bias = self.param("qkv_bias", nn.initializers.zeros, (3 * width,), jnp.float32)
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        q = probe @ kernel[:, :width] + bias[:width]
        kv = x @ kernel[:, width:] + bias[width:]
        q, (k, v) = split_heads(q, self.heads), split_projections(kv, 2, self.heads)
        y = Dense(width, dtype=self.dtype, name="out")(merge_heads(attention(q, k, v, mask)))
        z = LayerNorm(self.epsilon, name="norm")(y)
        z = activation(self.activation)(Dense(self.mlp_width, dtype=self.dtype, name="mlp_in")(z))
        return (y + Dense(width, dtype=self.dtype, name="mlp_out")(z))[:, 0]


def _dense(tower: "VisionTower", x: Array) -> Array:
    pooler = Dense(tower.pooler_width or tower.width, dtype=tower.dtype, name="pooler")
    return activation(tower.pooler_activation)(pooler(x[:, 0]))


def _patches(tower: "VisionTower", x: Array) -> Array:
    return x[:, tower.class_token + tower.registers :]


def _mean(tower: "VisionTower", x: Array) -> Array:
    return jnp.mean(_patches(tower, x), axis=1)


def _class_and_mean(tower: "VisionTower", x: Array) -> Array:
    return jnp.concatenate([x[:, 0], _mean(tower, x)], axis=-1)


def _read(tower: "VisionTower", x: Array) -> Array:
    head = AttentionHead(
        tower.heads, tower.mlp_width, tower.activation, tower.epsilon, tower.dtype, name="head"
    )
    return head(_patches(tower, x))


# From the tower and its last tokens, normalised where they are: the pooled vector.
POOLINGS: Mapping[str, Callable[["VisionTower", Array], Array]] = {
    "attention": _read,
    "class": lambda _, x: x[:, 0],
    "class_dense": _dense,
    "class_mean": _class_and_mean,
    "class_norm": lambda tower, x: LayerNorm(tower.epsilon, name="norm")(x[:, 0]),
    "mean": _mean,
    "mean_norm": lambda tower, x: LayerNorm(tower.epsilon, name="norm")(_mean(tower, x)),
}


class VisionTower(nn.Module):
    """pixel_values [B 3 H W] -> last_hidden_state [B N D], pooler_output [B D].

    Attributes:
        width, layers, heads, mlp_width: of the transformer.
        patch_size: rows and columns of a patch.
        grid: rows and columns of the learned positions; for pictures of other sizes they are
            interpolated, bicubic.
        antialias: whether a table that is interpolated is smoothed first where it shrinks.
        activation, epsilon, qkv_bias, layer_scale, gated: of the blocks.
        patch_bias: whether the projection of the patches has a bias.
        class_token: whether a learned token leads the patches.
        class_position, register_position: whether it has a position, and they have.
        registers: number of learned tokens between them.
        mask_token: whether there is a learned vector for patches that are hidden.
        input_norm: whether a norm precedes the first block (CLIP).
        closing_norm: whether a norm follows the last one.
        pooling: a name in POOLINGS; None: there is no pooler_output. A mean and the
            attention are over the patches.
        pooler_width, pooler_activation: of the "class_dense" pooler. None: D.
        dropout: share dropped in training, of the input and in the blocks.
        dtype: type of the computation.
        scanned: whether the parameters of the blocks are stacked.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    patch_size: tuple[int, int]
    grid: tuple[int, int]
    antialias: bool = False
    activation: str = "gelu_exact"
    epsilon: float = 1e-6
    qkv_bias: bool = True
    layer_scale: float | None = None
    gated: bool = False
    patch_bias: bool = True
    class_token: bool = True
    class_position: bool = True
    register_position: bool = False
    registers: int = 0
    mask_token: bool = False
    input_norm: bool = False
    closing_norm: bool = True
    pooling: str | None = None
    pooler_width: int | None = None
    pooler_activation: str = "tanh"
    dropout: float = 0.0
    dtype: Any = jnp.float32
    scanned: bool = False

    @nn.compact
    def __call__(
        self,
        pixel_values: Float[Array, "B C H W"],
        bool_masked_pos: Shaped[Array, "B n"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """Pictures, and which of their patches are hidden by the mask token.

        What is left of a picture at the right and below after the last whole patch is not read.

        Raises:
            UserError: a picture without one whole patch, or hidden patches without a mask token.
        """
        x = self.embed(pixel_values, bool_masked_pos)
        if self.input_norm:
            x = LayerNorm(self.epsilon, name="input_norm")(x)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        _, states = Transformer(
            self.layers,
            self.heads,
            mlp_width=self.mlp_width,
            activation=self.activation,
            epsilon=self.epsilon,
            qkv_bias=self.qkv_bias,
            layer_scale=self.layer_scale,
            gated=self.gated,
            dropout=self.dropout,
            dtype=self.dtype,
            scan=self.scanned,
            final_norm=False,
            name="blocks",
        ).with_states(x, deterministic=deterministic)
        x = states[-1]
        if self.closing_norm:
            x = LayerNorm(self.epsilon, name="norm")(x).astype(self.dtype)
        outputs = {"last_hidden_state": x}
        if self.pooling is not None:
            pooled = choose(POOLINGS, self.pooling, "pooling")(self, x)
            outputs["pooler_output"] = pooled.astype(self.dtype)
        return with_states(outputs, states, output_hidden_states)

    def embed(self, pixel_values: Array, hidden: Array | None) -> Array:
        """The tokens that the first block gets."""
        rows, _, *size = pixel_values.shape
        grid = tuple(length // side for length, side in zip(size, self.patch_size, strict=True))
        if 0 in grid:
            raise UserError(
                f"pixel_values: {size[0]}x{size[1]} is smaller than a patch of"
                f" {self.patch_size[0]}x{self.patch_size[1]}: resize the images"
            )
        if hidden is not None and not self.mask_token:
            raise UserError("bool_masked_pos: the file has no mask_token: leave it out")
        height, width = (cells * side for cells, side in zip(grid, self.patch_size, strict=True))
        image = jnp.moveaxis(pixel_values[:, :, :height, :width], 1, 3).astype(self.dtype)
        x = PatchEmbedding(
            self.width, self.patch_size, self.dtype, self.patch_bias, name="patches"
        )(image).reshape(rows, -1, self.width)

        def learned(name: str, count: int) -> Array:
            shape = (count, self.width)
            return self.param(name, nn.initializers.normal(0.02), shape, jnp.float32)

        def everywhere(table: Array) -> Array:
            return jnp.broadcast_to(table.astype(self.dtype), (rows, *table.shape))

        if self.mask_token:
            mask = learned("mask_token", 1).astype(self.dtype)
            x = x if hidden is None else jnp.where(hidden[..., None] != 0, mask, x)
        lead = [("class_token", int(self.class_token), self.class_position)]
        lead += [("registers", self.registers, self.register_position)]
        placed = sum(count for _, count, has_position in lead if has_position)
        positions = learned("positions", placed + self.grid[0] * self.grid[1])
        table = resized(positions[placed:], self.grid, grid, antialias=self.antialias)
        tokens, place = [], 0
        for name, count, has_position in lead:
            if count:
                token = learned(name, count)
                if has_position:
                    token = token + positions[place : place + count]
                    place += count
                tokens.append(everywhere(token))
        return jnp.concatenate([*tokens, x + table.astype(self.dtype)], axis=1)


def resized(
    table: Float[Array, "N D"],
    made: tuple[int, int],
    wanted: tuple[int, int],
    *,
    antialias: bool = False,
) -> Float[Array, "n D"]:
    """The positions of a grid, interpolated (bicubic) if another one is wanted."""
    if made == wanted:
        return table
    grid = table.reshape(*made, -1)
    if antialias:  # PyTorch has another cubic for it: that of jax, with the coefficient -0.5
        found = jax.image.resize(grid, (*wanted, grid.shape[-1]), "cubic")
    else:
        found = resize_positions(grid, *wanted)
    return found.reshape(-1, table.shape[-1])
