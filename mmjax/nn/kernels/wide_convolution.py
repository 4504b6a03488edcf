"""Convolutions of many channels with fewer products, for CPUs.

Exact but for the order of the sums; the errors of both are about those of the plain sum.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.nn.layers.windows import shifted

WIDE = 128 * 128  # input channels times output channels, from which fewer products are faster
MANY_TILES = 256  # of a device, from which transforming the kernel is worth it
LARGEST = 2**26  # numbers that the tiles of a device may take, for memory
# The largest share of the plain convolution's products with which they are faster.
WINOGRAD_SHARE, TAPS_SHARE = 0.6, 0.75

Pair = tuple[int, int]
Paddings = tuple[Pair, Pair]


def suits_winograd(x: Any, kernel: Any, strides: Pair, padding: Paddings) -> bool:
    """Whether `winograd` can compute a convolution of such arrays, and is faster."""
    if kernel.shape[:2] != (3, 3) or strides != (1, 1) or max(*padding[0], *padding[1]) > 2:
        return False
    high, wide = _output_sides(x, kernel, strides, padding)
    tiles = -(-high // 2) * -(-wide // 2)  # an odd side has half a tile more
    own = x.shape[0] // math.gcd(x.shape[0], jax.device_count()) * tiles
    few_products = 16 * tiles <= WINOGRAD_SHARE * 9 * high * wide
    fits = 16 * own * max(kernel.shape[2:]) <= LARGEST
    return _is_wide(x, kernel) and own >= MANY_TILES and few_products and fits


def _is_wide(x, kernel):
    return x.dtype == jnp.float32 and math.prod(kernel.shape[2:]) >= WIDE


def winograd(
    x: Float[Array, "B H W channels"], kernel: Float[Array, "3 3 channels out"], padding: Paddings
) -> Float[Array, "B y x out"]:
    """A 3x3 convolution by tiles of 2x2 outputs, with 16 products each instead of 36.

    F(2x2, 3x3) of Lavin and Gray 2016, https://arxiv.org/abs/1509.09308. Takes four times the
    memory of `x` and of the output, for a moment.
    """
    high, wide = _output_sides(x, kernel, (1, 1), padding)
    tiles = _input_tiles(x, (high, wide), padding)
    kernels = jnp.stack([part for row in _of_kernel(kernel) for part in _of_kernel(row)])
    products = jnp.einsum("sbhwi,sio->sbhwo", tiles, kernels)
    rows = [_of_products(products[first : first + 4]) for first in range(0, 16, 4)]
    columns = [jnp.stack(_of_products([row[side] for row in rows]), axis=2) for side in (0, 1)]
    y = jnp.stack(columns, axis=4)  # [B down 2 across 2 out]
    return y.reshape(x.shape[0], 2 * y.shape[1], 2 * y.shape[3], -1)[:, :high, :wide]


def _input_tiles(x, output_sides, padding):
    """[16 B down across channels]; an odd side has zeros to fill the last tile."""
    sides = zip(padding, output_sides, strict=True)
    around = [(before, after + side % 2) for (before, after), side in sides]
    return _tiles(jnp.pad(x, ((0, 0), *around, (0, 0))), 4, _of_input)


def _tiles(x, side, transform):
    """Tiles of side x side pixels, every two pixels, transformed to 4 x 4 numbers."""
    # Without the barrier, strided slices are not vectorised.
    rows = jax.lax.optimization_barrier(transform(shifted(x, 1, side, 2)))
    return jnp.stack([tile for row in rows for tile in transform(shifted(row, 2, side, 2))])


def _of_input(x):
    return [x[0] - x[2], x[1] + x[2], x[2] - x[1], x[1] - x[3]]


def _of_kernel(taps):
    outer, middle = (taps[0] + taps[2]) / 2, taps[1] / 2
    return [taps[0], outer + middle, outer - middle, taps[2]]


def _of_products(x):
    return [x[0] + x[1] + x[2], x[1] - x[2] - x[3]]


def _of_output_gradient(d_y):  # `_of_products` transposed
    return [d_y[0], d_y[0] + d_y[1], d_y[0] - d_y[1], -d_y[1]]


def _to_kernel(x):  # `_of_kernel` transposed
    return [x[0] + (x[1] + x[2]) / 2, (x[1] - x[2]) / 2, (x[1] + x[2]) / 2 + x[3]]


def winograd_input_gradient(
    d_y: Float[Array, "B y x out"], kernel: Float[Array, "3 3 channels out"], padding: Paddings
) -> Float[Array, "B H W channels"]:
    """That of `winograd`: the convolution with the kernel turned round."""
    around = tuple((2 - before, 2 - after) for before, after in padding)
    return winograd(d_y, jnp.swapaxes(kernel[::-1, ::-1], 2, 3), around)


def winograd_kernel_gradient(
    x: Float[Array, "B H W channels"],
    d_y: Float[Array, "B y x out"],
    padding: Paddings,
) -> Float[Array, "3 3 channels out"]:
    """That of `winograd`, by tiles too."""
    high, wide = d_y.shape[1:3]
    d_y = jnp.pad(d_y, ((0, 0), (0, high % 2), (0, wide % 2), (0, 0)))
    both = _input_tiles(x, (high, wide), padding), _tiles(d_y, 2, _of_output_gradient)
    devices = math.gcd(x.shape[0], jax.device_count())  # each sums over its own pictures
    own = math.prod(both[0].shape[1:4]) // devices
    parts = [tiles.reshape(16, devices, own, tiles.shape[4]) for tiles in both]
    d_kernels = jnp.einsum("sdni,sdno->dsio", *parts)
    rows = [_to_kernel(d_kernels[:, first : first + 4].swapaxes(0, 1)) for first in range(0, 16, 4)]
    taps = [jnp.stack(_to_kernel(list(column)), axis=1) for column in zip(*rows, strict=True)]
    return jnp.stack(taps, axis=2).sum(0)


def suits_taps(x: Any, kernel: Any, strides: Pair, padding: Paddings) -> bool:
    """Whether so many products are of padding that `by_taps` is faster."""
    sides = _output_sides(x, kernel, strides, padding)
    if not _is_wide(x, kernel) or min(sides) < 1:
        return False
    reached = [
        sum(count for _, count, _ in _spans(axis, x, kernel, strides, padding)) for axis in (0, 1)
    ]
    return math.prod(reached) <= TAPS_SHARE * math.prod(sides) * math.prod(kernel.shape[:2])


def by_taps(
    x: Float[Array, "B H W channels"],
    kernel: Float[Array, "height width channels out"],
    strides: Pair,
    padding: Paddings,
) -> Float[Array, "B y x out"]:
    """A convolution as a sum over the kernel's pixels, without the products of padding."""
    high, wide = _output_sides(x, kernel, strides, padding)
    y = jnp.zeros((x.shape[0], high, wide, kernel.shape[3]), x.dtype)
    for tap, pixels, (rows, columns) in _taps(x, kernel, strides, padding):
        part = jnp.einsum("bhwi,io->bhwo", x[:, *pixels], kernel[*tap])
        around = ((rows.start, high - rows.stop), (columns.start, wide - columns.stop))
        y = y + jnp.pad(part, ((0, 0), *around, (0, 0)))
    return y


def taps_kernel_gradient(
    x: Float[Array, "B H W channels"],
    d_y: Float[Array, "B y x out"],
    kernel: Float[Array, "height width channels out"],
    strides: Pair,
    padding: Paddings,
) -> Float[Array, "height width channels out"]:
    """That of `by_taps`."""
    devices = math.gcd(x.shape[0], jax.device_count())  # each sums over its own pictures

    def product(pixels, d_y):
        own = math.prod(pixels.shape[:3]) // devices
        parts = [a.reshape(devices, own, a.shape[-1]) for a in (pixels, d_y)]
        return jnp.einsum("dni,dno->dio", *parts)

    found = {
        tap: product(x[:, *pixels], d_y[:, *outputs])
        for tap, pixels, outputs in _taps(x, kernel, strides, padding)
    }
    nothing = jnp.zeros((devices, *kernel.shape[2:]), x.dtype)
    taps = itertools.product(*map(range, kernel.shape[:2]))
    stacked = jnp.stack([found.get(tap, nothing) for tap in taps], axis=1)
    return stacked.sum(0).reshape(kernel.shape)


def _output_sides(x, kernel, strides, padding):
    return [
        (x.shape[1 + axis] + sum(padding[axis]) - kernel.shape[axis]) // strides[axis] + 1
        for axis in (0, 1)
    ]


def _spans(axis, x, kernel, strides, padding):
    """For each offset in the kernel: first output and number of those it reaches, first input."""
    outputs = _output_sides(x, kernel, strides, padding)[axis]
    stride, before, size = strides[axis], padding[axis][0], x.shape[1 + axis]
    for offset in range(kernel.shape[axis]):
        first = max(0, -(-(before - offset) // stride))
        last = min(outputs - 1, (size - 1 + before - offset) // stride)
        yield first, max(0, last - first + 1), first * stride + offset - before


def _taps(x, kernel, strides, padding) -> Iterator:
    """Those that reach a pixel: offsets in the kernel, slices of the inputs and of the outputs."""
    spans = [list(_spans(axis, x, kernel, strides, padding)) for axis in (0, 1)]
    for tap in itertools.product(*map(range, kernel.shape[:2])):
        firsts, counts, begins = zip(*(spans[axis][tap[axis]] for axis in (0, 1)), strict=True)
        if all(counts):
            parts = zip(begins, counts, strides, strict=True)
            pixels = tuple(slice(at, at + (n - 1) * step + 1, step) for at, n, step in parts)
            parts = zip(firsts, counts, strict=True)
            yield tap, pixels, tuple(slice(first, first + n) for first, n in parts)
