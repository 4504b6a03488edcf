"""Tubelets: blocks of a clip, some frames long and some pixels wide, as tokens."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.errors import UserError
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.embedding import resize_positions


def fold_tubelets(
    video: Float[Array, "R T H W channels"], frames: int, side: int | tuple[int, int]
) -> Float[Array, "R t Y X features"]:
    """Each block of frames x side x side becomes one cell; t = T / frames.

    A pair of sides cuts blocks that are no squares, rows first. Features are in the order frame in
    the block, row, column, channel.

    Raises:
        UserError: the clip does not split into such blocks.
    """
    rows, length, height, width, channels = video.shape
    if frames < 1 or length % frames:
        raise UserError(
            f"tubelet_frames: {length} frames do not split into tubelets of {frames}: pad the clip"
            " with masked frames or choose a tubelet_frames that divides its length"
        )
    high, wide = (side, side) if isinstance(side, int) else side
    if min(high, wide) < 1 or height % high or width % wide:
        raise UserError(
            f"patch_size: {height}x{width} does not split into patches of {high}x{wide}:"
            " resize the frames or choose a patch_size that divides both sides"
        )
    t, y, x = (length // frames, height // high, width // wide)
    cut = video.reshape(rows, t, frames, y, high, x, wide, channels)
    cut = jnp.transpose(cut, (0, 1, 3, 5, 2, 4, 6, 7))
    return cut.reshape(rows, t, y, x, frames * high * wide * channels)


def real_tubelets(mask: Bool[Array, "R T"], frames: int) -> Bool[Array, "R t"]:
    """A tubelet is real if any of its frames is; t = T / frames.

    With frames=2 and mask [[True, False, False, False]]: [[True, False]].
    """
    return jnp.any(mask.reshape(mask.shape[0], -1, frames), axis=2)


class TubeletEmbedding(nn.Module):
    """Cuts a clip into tubelets and projects each (Arnab et al. 2021,
    https://arxiv.org/abs/2103.15691, section 3.2).

    The same function as a 3-D convolution whose stride is its size, and faster on CPU.

    Attributes:
        width: D of a tubelet's vector.
        frames: length of a tubelet.
        side: side of a tubelet in pixels, or rows and columns.
        dtype: type of the computation.
    """

    width: int
    frames: int
    side: int | tuple[int, int]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, video: Float[Array, "R T H W channels"]) -> Float[Array, "R t Y X D"]:
        tubelets = fold_tubelets(video, self.frames, self.side)
        return Dense(self.width, dtype=self.dtype, name="projection")(tubelets)


class TubeletPositions(nn.Module):
    """Adds a learned vector to each place of a clip.

    The table is as large as the clip at initialisation. A shorter clip uses the first times; for
    another grid the vectors of each time are interpolated (see
    `mmjax.nn.layers.embedding.resize_positions`).
    """

    @nn.compact
    def __call__(self, x: Float[Array, "R t Y X D"]) -> Float[Array, "R t Y X D"]:
        times, rows, columns, width = x.shape[1:]
        made = (times, rows, columns)
        if self.has_variable("params", "embedding"):
            made = self.get_variable("params", "embedding").shape[:3]
        if times > made[0]:
            raise UserError(
                f"{'/'.join(self.path)}: a clip of {times} tubelets in time, but the model was made"
                f" for {made[0]}: shorten the clip or initialise with the longest one"
            )
        init = nn.initializers.normal(0.02)
        table = self.param("embedding", init, (*made, width), jnp.float32)[:times]
        if made[1:] != (rows, columns):
            table = jax.vmap(lambda grid: resize_positions(grid, rows, columns))(table)
        return x + table.astype(x.dtype)


def random_tube_mask(
    key: jax.Array, rows: int, grid: tuple[int, int, int], ratio: float
) -> Bool[Array, "R N"]:
    """Tube masking (Tong et al. 2022, https://arxiv.org/abs/2203.12602): True where visible.

    The same cells are hidden at every time, so that none can be copied from its neighbour in time.
    Every row hides round(ratio * Y * X) cells, drawn without replacement.

    Args:
        key: of the draw.
        rows: R, number of clips.
        grid: (t, Y, X), number of tubelets along time, height and width; N = t * Y * X.
        ratio: share of the cells that are hidden, 0 to 1 (0.9 in the paper).

    Raises:
        UserError: a ratio outside 0..1.
    """
    if not 0 <= ratio <= 1:
        raise UserError(f"ratio: a share of {ratio} of the tubelets: choose one from 0 to 1")
    times, cells = grid[0], grid[1] * grid[2]
    order = jnp.argsort(jax.random.uniform(key, (rows, cells)), axis=1)
    # The order is itself a random permutation: its entries are the ranks of the cells.
    return jnp.tile(order >= round(ratio * cells), (1, times))
