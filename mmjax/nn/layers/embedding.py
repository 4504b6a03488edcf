"""Vectors for words, patches and places."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mmjax.errors import UserError
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.ids import rows_of
from mmjax.nn.layers.masking import zero_masked


class WordEmbedding(nn.Module):
    """A vector for each word, exact zeros where masked.

    A real id outside the vocabulary is an error; where a program is compiled, which cannot raise
    one, it gives NaN, so that it is noticed. A masked one is never read.

    Attributes:
        vocabulary_size: V, number of ids.
        width: D of the vectors.
        embedding_init: initialiser of the table [V D].
        dtype: type of the output.
        input_name: of the ids, for messages.
    """

    vocabulary_size: int
    width: int
    embedding_init: Any = nn.initializers.normal(0.02)
    dtype: Any = jnp.float32
    input_name: str = "text"

    @nn.compact
    def __call__(
        self, ids: Int[Array, "B L"], mask: Bool[Array, "B L"] | None = None
    ) -> Float[Array, "B L D"]:
        """`mask`: which words are real; None: all are."""
        shape = (self.vocabulary_size, self.width)
        table = self.param("embedding", self.embedding_init, shape, jnp.float32)
        ids = ids if mask is None else jnp.where(mask, ids, 0)
        rows = rows_of(table.astype(self.dtype), ids, self.input_name)
        return rows if mask is None else zero_masked(rows, mask)


class LearnedPositions(nn.Module):
    """Adds a learned vector to each place of a sequence.

    Attributes:
        count: places of the table. None: as many as the sequence has at initialisation. A shorter
            sequence uses the first ones.
    """

    count: int | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N D"], position_ids: Int[Array, "b N"] | None = None
    ) -> Float[Array, "B N D"]:
        """`position_ids`: the place of each token. None: 0, 1, ..."""
        length, width = x.shape[1:]
        places = length if self.count is None else self.count
        if self.has_variable("params", "embedding"):
            places = self.get_variable("params", "embedding").shape[0]
        if length > places:
            raise UserError(
                f"{'/'.join(self.path)}: a sequence of {length} tokens, but the model was made for"
                f" {places}: shorten the input or initialise with the longest one"
            )
        init = nn.initializers.normal(0.02)
        table = self.param("embedding", init, (places, width), jnp.float32)
        table = table.astype(x.dtype)
        if position_ids is not None:
            return x + rows_of(table, position_ids, "position_ids")
        return x + table[:length]


def _cubic_weights(made: int, wanted: int) -> np.ndarray:
    """The weight of each of `made` places in each of `wanted` ones [wanted made]."""
    a = -0.75  # PyTorch's coefficient
    centre = (np.arange(wanted) + 0.5) * made / wanted - 0.5
    neighbours = np.floor(centre).astype(int)[:, None] + np.arange(-1, 3)
    distance = np.abs(centre[:, None] - neighbours)
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    weights = np.zeros((wanted, made))
    # The border goes on outside of the grid, so a place may be several neighbours.
    places = np.clip(neighbours, 0, made - 1)
    np.add.at(weights, (np.arange(wanted)[:, None], places), np.where(distance <= 1, near, far))
    return weights.astype(np.float32)


def resize_positions(
    table: Float[Array, "Y X D"], rows: int, columns: int
) -> Float[Array, "rows columns D"]:
    """Positions learned for one grid, interpolated (bicubic) to another over the same picture.

    As PyTorch's `interpolate(mode="bicubic", align_corners=False)`: without antialiasing, also
    where the new grid is smaller. This is how DINOv2 and transformers' ViT resize theirs.
    """
    y, x = (_cubic_weights(*sizes) for sizes in zip(table.shape[:2], (rows, columns), strict=True))
    return jnp.einsum("yr,rcd,xc->yxd", y, table, x, precision="highest")


class GridPositions(nn.Module):
    """Adds a learned vector to each cell of a grid.

    The table has the size of the grid at initialisation; for another grid it is interpolated (see
    `resize_positions`), and stays as it is.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "B Y X D"]) -> Float[Array, "B Y X D"]:
        rows, columns, width = x.shape[1:]
        made = (rows, columns)
        if self.has_variable("params", "embedding"):
            made = self.get_variable("params", "embedding").shape[:2]
        init = nn.initializers.normal(0.02)
        table = self.param("embedding", init, (*made, width), jnp.float32)
        if made != (rows, columns):
            table = resize_positions(table, rows, columns)
        return x + table.astype(x.dtype)


def sincos_positions(
    rows: int, columns: int, width: int, base: float = 10_000.0
) -> Float[Array, "rows columns D"]:
    """Fixed vectors for the cells of a grid: sin and cos of column and of row, a quarter each.

    The vector of row y and column x is [sin(x f), cos(x f), sin(y f), cos(y f)] with the
    D / 4 frequencies f = base**(-4 i / D) (He et al. 2022, https://arxiv.org/abs/2111.06377).

    Raises:
        UserError: the width D is not divisible by 4.
    """
    if width % 4:
        raise UserError(
            f"positions 'sincos': width {width} is not divisible by 4: choose another width"
        )
    frequencies = base ** (-np.arange(0, width, 4) / width)
    y, x = (np.arange(length)[:, None] * frequencies for length in (rows, columns))
    y = np.concatenate([np.sin(y), np.cos(y)], axis=1)[:, None]
    x = np.concatenate([np.sin(x), np.cos(x)], axis=1)[None]
    shape = (rows, columns, width // 2)
    both = [np.broadcast_to(x, shape), np.broadcast_to(y, shape)]
    return jnp.asarray(np.concatenate(both, axis=2), jnp.float32)


def fold_patches(
    image: Float[Array, "B H W channels"], side: int | tuple[int, int]
) -> Float[Array, "B Y X features"]:
    """Each square of side x side pixels becomes one cell with side * side * channels features.

    Features are in the order row in the square, column in the square, channel. A pair of sides
    cuts rectangles, rows first.

    Raises:
        UserError: the picture does not split into such squares.
    """
    batch, height, width, channels = image.shape
    rows, columns = (side, side) if isinstance(side, int) else side
    if min(rows, columns) < 1 or height % rows or width % columns:
        raise UserError(
            f"patch_size: {height}x{width} does not split into patches of {rows}x{columns}:"
            " resize the images or choose a patch_size that divides both sides"
        )
    patches = image.reshape(batch, height // rows, rows, width // columns, columns, channels)
    patches = jnp.swapaxes(patches, 2, 3)
    return patches.reshape(*patches.shape[:3], rows * columns * channels)


class PatchEmbedding(nn.Module):
    """Cuts a picture into square patches and projects each (Dosovitskiy et al. 2021, ViT).

    The same function as a convolution whose stride is its size, and faster on CPU.

    Attributes:
        width: D of a patch's vector.
        patch_size: side of a patch in pixels, or rows and columns.
        dtype: type of the computation.
        use_bias: whether the projection has a bias.
    """

    width: int
    patch_size: int | tuple[int, int]
    dtype: Any = jnp.float32
    use_bias: bool = True

    @nn.compact
    def __call__(self, image: Float[Array, "B H W channels"]) -> Float[Array, "B Y X D"]:
        patches = fold_patches(image, self.patch_size)
        return Dense(self.width, self.use_bias, dtype=self.dtype, name="projection")(patches)
