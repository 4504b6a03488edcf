"""Swin: attention within windows that are shifted in every other block (Liu et al. 2021,
https://arxiv.org/abs/2103.14030)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mmjax.nn.layers.attention import attention, merge_heads, split_projections
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import activation

MERGE_EPSILON = 1e-5  # of the norm before windows of cells are merged, in every Swin
# Added to the scores between cells that only the shift brought together, as in the original.
MASKED_SCORE = -100.0


def relative_places(side: int) -> Int[np.ndarray, "N N"]:
    """For each pair of cells of a window, the row of the table that is for their distance.

    For side 1: [[0]]. For side 2, with rows and columns of distances -1, 0, 1:

        [[4, 3, 1, 0],
         [5, 4, 2, 1],
         [7, 6, 4, 3],
         [8, 7, 5, 4]]
    """
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij")).reshape(2, -1)
    rows, columns = cells[:, :, None] - cells[:, None, :] + side - 1
    return rows * (2 * side - 1) + columns


def windows(x: Float[Array, "B H W C"], side: int) -> Float[Array, "R N C"]:
    """Cuts a grid into windows, those of one picture one after the other."""
    rows, height, width, channels = x.shape
    x = x.reshape(rows, height // side, side, width // side, side, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, side * side, channels)


def unwindowed(x: Float[Array, "R N C"], height: int, width: int) -> Float[Array, "B H W C"]:
    """The inverse of `windows`."""
    side = round(x.shape[1] ** 0.5)
    x = x.reshape(-1, height // side, width // side, side, side, x.shape[-1])
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, height, width, x.shape[-1])


def shift_mask(height: int, width: int, side: int, shift: int) -> Float[np.ndarray, "W 1 N N"]:
    """What is added to the scores of each window of a shifted grid.

    MASKED_SCORE between cells that are neighbours by the shift only, else 0.
    """

    def parts(size: int) -> np.ndarray:
        at = np.arange(size)
        return (at >= size - side).astype(int) + (at >= size - shift)

    part = parts(height)[:, None] * 3 + parts(width)
    part = part.reshape(height // side, side, width // side, side)
    part = part.transpose(0, 2, 1, 3).reshape(-1, side * side)
    differ = part[:, None, :, None] != part[:, None, None, :]
    return np.where(differ, np.float32(MASKED_SCORE), np.float32(0))


class WindowAttention(nn.Module):
    """Self-attention of the cells of each window, with a learned bias for each distance.

    Attributes:
        heads: number of heads.
        side: of a window, in cells; N is its square.
        use_bias: whether queries, keys and values have biases.
        dtype: type of the computation.
    """

    heads: int
    side: int
    use_bias: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "R N C"], bias: Float[Array, "W 1 N N"] | None = None
    ) -> Float[Array, "R N C"]:
        """`bias` is added to the scores; W divides R, as `windows` orders them."""
        count, width = x.shape[0], x.shape[-1]
        shape = ((2 * self.side - 1) ** 2, self.heads)
        table = self.param("places", nn.initializers.normal(0.02), shape, jnp.float32)
        scores = jnp.moveaxis(table[relative_places(self.side)], 2, 0)[None]
        if bias is not None:
            scores = scores + jnp.tile(bias, (count // bias.shape[0], 1, 1, 1))
        qkv = Dense(3 * width, self.use_bias, dtype=self.dtype, name="qkv")(x)
        q, k, v = split_projections(qkv, 3, self.heads)
        y = merge_heads(attention(q, k, v, bias=scores))
        return Dense(width, dtype=self.dtype, name="out")(y)


class SwinBlock(nn.Module):
    """Attention within windows and an mlp, each a pre-norm residual branch.

    Attributes:
        heads, mlp_width, activation, epsilon, qkv_bias: as of a transformer block.
        side: of a window, in cells.
        shift: by how many cells the windows are moved, over the edge.
        dtype: type of the computation.
    """

    heads: int
    mlp_width: int
    side: int
    shift: int
    activation: str
    epsilon: float
    qkv_bias: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """A grid that does not split into windows gets zeros below and on the right, which are read
        as cells, as in the original."""
        height, width = x.shape[1:3]
        y = LayerNorm(self.epsilon, name="attention_norm")(x).astype(self.dtype)
        more = [(0, -height % self.side), (0, -width % self.side)]
        y = jnp.pad(y, [(0, 0), *more, (0, 0)])
        padded, bias = y.shape[1:3], None
        if self.shift:
            y = jnp.roll(y, (-self.shift, -self.shift), (1, 2))
            bias = jnp.asarray(shift_mask(*padded, self.side, self.shift))
        attend = WindowAttention(self.heads, self.side, self.qkv_bias, self.dtype, name="attention")
        y = unwindowed(attend(windows(y, self.side), bias), *padded)
        if self.shift:
            y = jnp.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y[:, :height, :width]
        z = LayerNorm(self.epsilon, name="mlp_norm")(x).astype(self.dtype)
        z = activation(self.activation)(Dense(self.mlp_width, dtype=self.dtype, name="mlp_in")(z))
        return x + Dense(x.shape[-1], dtype=self.dtype, name="mlp_out")(z)


class PatchMerging(nn.Module):
    """Four neighbours become one cell of twice the width; parameters "norm", "reduction".

    Attributes:
        dtype: type of the computation.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w c"]:
        """An odd grid gets zeros below and on the right."""
        height, width, channels = x.shape[1:]
        x = jnp.pad(x, [(0, 0), (0, height % 2), (0, width % 2), (0, 0)])
        four = [x[:, row::2, column::2] for column in range(2) for row in range(2)]
        x = LayerNorm(MERGE_EPSILON, name="norm")(jnp.concatenate(four, axis=-1))
        return Dense(2 * channels, use_bias=False, dtype=self.dtype, name="reduction")(x)


class SwinStages(nn.Module):
    """Stages of blocks, with half the cells a side and twice the width from one to the next.

    Attributes:
        depths, heads: blocks and attention heads of each stage.
        side: of a window, in cells; where a grid is as small as that, windows are not shifted.
        mlp_ratio: width of the mlp, in units of that of the stage.
        activation, epsilon, qkv_bias: of the blocks.
        dtype: type of the computation.
    """

    depths: tuple[int, ...]
    heads: tuple[int, ...]
    side: int
    mlp_ratio: float
    activation: str
    epsilon: float
    qkv_bias: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> tuple[Float[Array, "B h w c"], ...]:
        """The grid before the first stage and after each, merged if another follows."""
        grids = [x]
        for stage, (depth, heads) in enumerate(zip(self.depths, self.heads, strict=True)):
            fits = min(x.shape[1:3]) > self.side
            for block in range(depth):
                x = SwinBlock(
                    heads,
                    int(x.shape[-1] * self.mlp_ratio),
                    self.side,
                    self.side // 2 if fits and block % 2 else 0,
                    self.activation,
                    self.epsilon,
                    self.qkv_bias,
                    self.dtype,
                    name=f"stage_{stage}_block_{block}",
                )(x)
            if stage + 1 < len(self.depths):
                x = PatchMerging(self.dtype, name=f"merge_{stage}")(x)
            grids.append(x)
        return tuple(grids)
