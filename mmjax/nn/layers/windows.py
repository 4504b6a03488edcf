"""The windows that a convolution or a pooling slides over pictures, as strided slices."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array

Pair = tuple[int, int]


def shifted(x: Array, axis: int, side: int, stride: int) -> list[Array]:
    """For each of `side` offsets, every `stride`-th slice: the i-th of each window together."""
    last = (x.shape[axis] - side) // stride * stride + 1
    at = functools.partial(jax.lax.slice_in_dim, x, stride=stride, axis=axis)
    return [at(offset, offset + last) for offset in range(side)]


def windows(x: Array, kernel: Array, strides: Pair, padding: tuple[Pair, Pair]) -> list[Array]:
    """The pixel at (i, j) of each window, for every i and j."""
    height, width = kernel.shape[:2]
    rows = shifted(jnp.pad(x, [(0, 0), *padding, (0, 0)]), 1, height, strides[0])
    return [column for row in rows for column in shifted(row, 2, width, strides[1])]
