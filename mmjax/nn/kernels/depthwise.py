"""Convolution of each channel by itself, for CPUs."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.nn.layers.windows import windows


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise(
    x: Float[Array, "B H W channels"], kernel: Float[Array, "side side channels"], stride: int = 1
) -> Float[Array, "B y x channels"]:
    """As `mmjax.nn.layers.conv.depthwise`, in sums of products: 4 to 25 times faster."""
    taps = kernel.reshape(-1, kernel.shape[-1])
    products = zip(_windows(x, kernel, stride), taps, strict=True)
    total = sum(window.astype(jnp.float32) * tap for window, tap in products)
    return total.astype(x.dtype)


def _windows(x: Array, kernel: Array, stride: int) -> list[Array]:
    around = (kernel.shape[0] // 2, kernel.shape[0] // 2)
    return windows(x, kernel, (stride, stride), (around, around))


def _forward(x, kernel, stride):
    return depthwise(x, kernel, stride), (x, kernel)


def _backward(stride, residuals, d_y):
    # What is derived from sums of products, a sum of padded arrays, takes five times as long.
    x, kernel = residuals
    # The gradient of the images is the same convolution, of the gradient put where each window
    # was, with the kernel turned round.
    between = [
        (0, size - 1 - (count - 1) * stride, stride - 1)
        for size, count in zip(x.shape[1:3], d_y.shape[1:3], strict=True)
    ]
    nothing = (0, 0, 0)
    spread = jax.lax.pad(d_y, jnp.zeros((), d_y.dtype), [nothing, *between, nothing])
    d_x = depthwise(spread, kernel[::-1, ::-1])
    # That of the kernel in one pass over both, which takes half the time of a sum for each pixel.
    d_y = d_y.astype(jnp.float32)
    products = [window * d_y for window in _windows(x, kernel, stride)]
    zeros = [jnp.zeros((), jnp.float32) for _ in products]

    def add(totals, values):
        return tuple(total + value for total, value in zip(totals, values, strict=True))

    sums = jax.lax.reduce(tuple(products), tuple(zeros), add, (1, 2))
    d_kernel = jnp.sum(jnp.stack(sums), axis=1).reshape(kernel.shape)
    return d_x, d_kernel.astype(kernel.dtype)


depthwise.defvjp(_forward, _backward)
