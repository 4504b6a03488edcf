"""Vision transformer (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929): that of CLIP,
SigLIP, DINOv2, timm and big_vision, and that of `mmjax.encoders.image.vit`."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from mmjax.backbones.stack import Features, TransformerBackbone
from mmjax.backbones.vision.pooling import POOLINGS
from mmjax.errors import UserError
from mmjax.nn.layers.convolution import ConvolutionBlock
from mmjax.nn.layers.embedding import (
    GridPositions,
    PatchEmbedding,
    resize_positions,
    sincos_positions,
)
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.rotary import grid_angles


def _turn(x: Array, head: int) -> tuple[Array, Array]:
    if head % 4:
        raise UserError(
            f"vit: positions 'rotary' need heads of a width divisible by 4, not {head}:"
            " choose another number of heads"
        )
    return x, grid_angles(x.shape[1], x.shape[2], head)


# From patches [B Y X D] and the width of a head: patches that know their place, rotary angles.
POSITIONS: Mapping[str, Callable[[Array, int], tuple[Array, Array | None]]] = {
    "learned": lambda x, _: (GridPositions(name="positions")(x), None),
    "none": lambda x, _: (x, None),
    "rotary": _turn,
    "sincos": lambda x, _: (x + sincos_positions(*x.shape[1:]).astype(x.dtype), None),
}


class VisionTransformer(TransformerBackbone, kw_only=True):
    """Normalised images -> a token for each patch, after those for the image.

    Attributes:
        patch_size: side of a patch in pixels, the stem's strides included, or rows and columns.
        layer_scale, gated, final_norm: of the transformer.
        stem: channels of 3x3 convolutions of stride 2 before the patches are cut (Xiao et al. 2021,
            https://arxiv.org/abs/2106.14881).
        stem_norm: norm of the stem: "group", "layer" or "none".
        patch_bias: whether the projection of the patches has a bias.
        positions: "learned" (added to each patch), "sincos" (fixed, added), "rotary" (queries and
            keys turn with row and column) or "none".
        grid: rows and columns of learned positions that are one table [tokens D], as in published
            files. None: those of the images at initialisation, as a table [rows columns D]. For
            images of other sizes they are interpolated, bicubic.
        class_position, register_position: whether the table of `grid` begins with a position of
            the class token, and with those of the registers.
        antialias: whether the table of `grid` is smoothed first where it shrinks.
        class_token: whether a learned token leads the patches.
        registers: number of learned tokens between them (Darcet et al. 2024,
            https://arxiv.org/abs/2309.16588).
        mask_token: whether there is a learned vector for patches that are hidden.
        pre_norm: whether a norm precedes the first block (CLIP).
        pooling: a name in `mmjax.backbones.vision.pooling.POOLINGS`. None: there is no pooled
            vector.
        pooler_width, pooler_activation: of the "class_dense" pooling. None: D.
    """

    patch_size: int | tuple[int, int]
    activation: str = "gelu"
    epsilon: float = 1e-6
    layer_scale: float | None = None
    gated: bool = False
    final_norm: bool = True
    stem: tuple[int, ...] | None = None
    stem_norm: str = "group"
    patch_bias: bool = True
    positions: str = "learned"
    grid: tuple[int, int] | None = None
    class_position: bool = True
    register_position: bool = False
    antialias: bool = False
    class_token: bool = True
    registers: int = 0
    mask_token: bool = False
    pre_norm: bool = False
    pooling: str | None = None
    pooler_width: int | None = None
    pooler_activation: str = "tanh"

    @property
    def lead(self) -> int:
        """Number of tokens before the patches."""
        return self.class_token + self.registers

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of a patch, in pixels."""
        return (self.patch_size,) * 2 if isinstance(self.patch_size, int) else self.patch_size

    def __call__(
        self,
        pixel_values: Float[Array, "B C H W"],
        bool_masked_pos: Shaped[Array, "B n"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """As `encode`, by the names and in the layout of transformers.

        What is left of an image at the right and below after the last whole patch is not read.

        Raises:
            UserError: an image without one whole patch, or hidden patches without a mask token.
        """
        size, sides = pixel_values.shape[2:], self.sides
        height, width = (length - length % side for length, side in zip(size, sides, strict=True))
        if 0 in (height, width):
            raise UserError(
                f"pixel_values: {size[0]}x{size[1]} is smaller than a patch of"
                f" {sides[0]}x{sides[1]}: resize the images"
            )
        image = jnp.moveaxis(pixel_values[:, :, :height, :width], 1, 3)
        found = self.encode(image, bool_masked_pos, deterministic=deterministic)
        return found.named(output_hidden_states)

    @nn.compact
    def encode(
        self,
        image: Float[Array, "B H W C"],
        hidden: Shaped[Array, "B n"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Features:
        """Images, and which of their patches are hidden by the mask token.

        Raises:
            UserError: an unknown option, sizes that do not divide as the attributes say, or hidden
                patches without a mask token.
        """
        x, angles = self._embed(image.astype(self.dtype), hidden)
        if self.pre_norm:
            x = LayerNorm(self.epsilon, name="pre_norm")(x)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x, states = self.blocks().with_states(x, angles=angles, deterministic=deterministic)
        pooled = None
        if self.pooling is not None:
            pooled = choose(POOLINGS, self.pooling, "pooling")(self, x, None).astype(self.dtype)
        return Features(x, pooled, states)

    def _embed(self, image: Array, hidden: Array | None) -> tuple[Array, Array | None]:
        """The tokens that the first block gets, and their rotary angles."""
        x, shrink = image, 2 ** len(self.stem or ())
        if any(side % shrink for side in self.sides):
            raise UserError(
                f"vit: patch_size {self.patch_size} is not a multiple of {shrink}, the stride of a"
                f" stem of {len(self.stem or ())} convolutions: choose another patch_size or stem"
            )
        for layer, channels in enumerate(self.stem or ()):
            x = ConvolutionBlock(
                channels, stride=2, norm=self.stem_norm, dtype=self.dtype, name=f"stem_{layer}"
            )(x)
        cut = tuple(side // shrink for side in self.sides)
        x = PatchEmbedding(self.width, cut, self.dtype, self.patch_bias, name="patches")(x)
        rows, *grid, width = x.shape
        if self.mask_token:
            mask = self._learned("mask_token", 1).astype(self.dtype)
            x = x if hidden is None else jnp.where(hidden.reshape(-1, *grid, 1) != 0, mask, x)
        elif hidden is not None:
            raise UserError("bool_masked_pos: the file has no mask_token: leave it out")
        firsts = [("class_token", int(self.class_token), self.class_position)]
        firsts += [("registers", self.registers, self.register_position)]
        table, angles = None, None
        if self.grid is None:
            x, angles = choose(POSITIONS, self.positions, "positions")(x, width // self.heads)
        else:
            placed = sum(count for _, count, has_position in firsts if has_position)
            table = self._learned("positions", placed + self.grid[0] * self.grid[1])
            cells = resized(table[placed:], self.grid, tuple(grid), antialias=self.antialias)
            x = x + cells.reshape(*grid, width).astype(self.dtype)
        tokens, place = [], 0
        for name, count, has_position in firsts:
            if count:
                token = self._learned(name, count)
                if table is not None and has_position:
                    token = token + table[place : place + count]
                    place += count
                tokens.append(jnp.broadcast_to(token.astype(self.dtype), (rows, count, width)))
        x = jnp.concatenate([*tokens, x.reshape(rows, -1, width)], axis=1)
        if angles is not None:  # what has no place does not turn
            angles = jnp.pad(angles, ((self.lead, 0), (0, 0)))
        return x, angles

    def _learned(self, name: str, count: int) -> Array:
        init = nn.initializers.normal(0.02)
        return self.param(name, init, (count, self.width), jnp.float32)


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
