"""Convolution of images with a derivative for CPUs, by products of matrices."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.nn.kernels.devices import sharing
from mmjax.nn.layers.windows import windows

# With at most so many pixels in an output, its gradients are products of unfolded windows.
FEW_PIXELS = 16
# With at least so many windows on a device, the kernel's gradient takes some images at a time:
MANY_WINDOWS = 2**12
# so many windows at least, and so many numbers in them.
FEW_WINDOWS, SMALL = 256, 2**18

ORDER = ("NHWC", "HWIO", "NHWC")
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
    x: Float[Array, "B H W channels"],
    kernel: Float[Array, "height width channels out"],
    strides: Pair,
    padding: Padding,
) -> Float[Array, "B y x out"]:
    """As `mmjax.nn.layers.conv.convolve`.

    XLA's gradients take up to two and a half times as long where the outputs together have many
    pixels, or each has few. Windows are written out: height * width times the memory of some of
    the images. Devices that share them sum their own before they meet (see `devices.sharing`).
    """
    return _library(x, kernel, strides, padding)


def _library(x, kernel, strides, padding):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=ORDER)


def _unfolded(x, kernel, strides, padding):
    flat = jnp.concatenate(windows(x, kernel, strides, padding), axis=-1)
    y = flat.reshape(-1, flat.shape[-1]) @ kernel.reshape(-1, kernel.shape[-1])
    return y.reshape(*flat.shape[:3], -1)


def _forward(x, kernel, strides, padding):
    return convolve(x, kernel, strides, padding), (x, kernel)


def _backward(strides, padding, residuals, d_y):
    x, kernel = residuals
    pixels, devices = math.prod(d_y.shape[1:3]), sharing(x.shape[0])
    few = pixels <= FEW_PIXELS
    run = functools.partial(_unfolded if few else _library, strides=strides, padding=padding)
    if few or x.shape[0] // devices * pixels < MANY_WINDOWS:
        return jax.vjp(run, x, kernel)[1](d_y)
    (d_x,) = jax.vjp(lambda x: run(x, kernel), x)[1](d_y)
    return d_x, _kernel_gradient(x, d_y, kernel, strides, padding, devices)


convolve.defvjp(_forward, _backward)


def _kernel_gradient(x, d_y, kernel, strides, padding, devices):
    """Products of windows and `d_y`, of as many images at a time as fit into the cache."""
    (*sides, channels, out), (batch, *pixels) = kernel.shape, d_y.shape[:3]
    width, own = math.prod(sides) * channels, batch // devices
    images = _images(own, math.prod(pixels), width)

    def by_device(a):
        # Within the loop: what is reshaped before it is computed again and written once more.
        return a.reshape(devices, own, *a.shape[1:])

    def product(x, d_y):
        # Slices that are not written out are not vectorised; this order is the faster one.
        slices = jax.lax.optimization_barrier(windows(x, kernel, strides, padding))
        rows = jax.lax.optimization_barrier(d_y.reshape(-1, out).T)
        unfolded = jnp.concatenate(slices, axis=-1).reshape(-1, width)
        return jnp.matmul(rows, unfolded, preferred_element_type=jnp.float32)

    def add(total, first):
        parts = by_device(x), by_device(d_y)
        some = [jax.lax.dynamic_slice_in_dim(part, first, images, axis=1) for part in parts]
        return total + jax.vmap(product)(*some), None

    # Each device sums its own; then they meet once.
    start = jnp.zeros((devices, out, width), jnp.float32)
    total = jax.lax.scan(add, start, jnp.arange(0, own, images))[0].sum(0)
    return total.T.reshape(kernel.shape).astype(kernel.dtype)


def _images(count: int, pixels: int, width: int) -> int:
    """How many of `count` images at a time: they have many windows, which stay in the cache."""
    least = max(-(-FEW_WINDOWS // pixels), -(-SMALL // (pixels * width)))
    return next((n for n in range(least, count) if count % n == 0), count)
