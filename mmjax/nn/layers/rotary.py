"""Rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864), on a line or a grid."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def line_angles(length: int, size: int, base: float = 10_000.0) -> Float[Array, "N k"]:
    """The angle of each pair of a head's size: position * base**(-2 i / size), in radians.

    Args:
        length: N, number of positions.
        size: K, width of a head; even. k = K / 2.
        base: of the geometric series of frequencies.
    """
    return _angles(jnp.arange(length, dtype=jnp.float32), size, base)


def grid_angles(rows: int, columns: int, size: int, base: float = 10_000.0) -> Float[Array, "N k"]:
    """Angles for the cells of a grid, row by row: half of the pairs turn with the row, half with
    the column (Heo et al. 2024, https://arxiv.org/abs/2403.13298, axial form).

    Args:
        rows, columns: of the grid; N = rows * columns.
        size: K, width of a head; divisible by 4. k = K / 2.
        base: of the geometric series of frequencies.
    """
    y = jnp.repeat(jnp.arange(rows, dtype=jnp.float32), columns)
    x = jnp.tile(jnp.arange(columns, dtype=jnp.float32), rows)
    return jnp.concatenate([_angles(y, size // 2, base), _angles(x, size // 2, base)], axis=1)


def _angles(positions: Float[Array, " N"], size: int, base: float) -> Float[Array, "N k"]:
    frequencies = base ** (-jnp.arange(0, size, 2, dtype=jnp.float32) / size)
    return positions[:, None] * frequencies


def rotate(x: Float[Array, "B H N K"], angles: Float[Array, "N k"]) -> Float[Array, "B H N K"]:
    """Turns each pair (x_i, x_(i + K/2)) by its angle, in float32; lengths do not change."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)
