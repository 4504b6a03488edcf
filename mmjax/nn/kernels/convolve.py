"""Convolution of pictures, with the gradients that the processor is fast at."""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.nn.kernels import wide_convolution as wide
from mmjax.nn.layers.windows import windows

# On CPU a convolution with at most so many pixels in its output is one product of matrices.
FEW_PIXELS = 16
# The gradient of a kernel there takes at least so many windows at a time, and so many numbers.
FEW_WINDOWS, SMALL = 256, 2**18

Pair = tuple[int, int]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
    x: Float[Array, "B H W channels"],
    kernel: Float[Array, "height width channels out"],
    strides: Pair = (1, 1),
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
) -> Float[Array, "B y x out"]:
    """Sum over each window's pixels of channels @ kernel; `padding` zeros around the pictures.

    The same as `jax.lax.conv_general_dilated`. On CPU the gradient of the kernel is a product of
    matrices, of the windows of some pictures at a time, in 0.3 to 1.0 of the time; and everything
    is a product where the output has few pixels, in 0.4 to 0.8 of the time. For that the windows
    are written out: height * width times the memory of those pictures. With many channels in
    float32, `wide_convolution` needs fewer products, and 0.6 to 0.8 of the time.
    Derivatives are defined in reverse only.
    """
    library, product = _choices(strides, padding)
    return jax.lax.platform_dependent(x, kernel, cpu=product, default=library)


def _choices(strides: Pair, padding: tuple[Pair, Pair]) -> tuple[Callable, Callable]:
    """The convolution everywhere, and the one on CPU, as functions of pictures and kernel."""

    def library(x, kernel):
        names = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=names)

    def product(x, kernel):
        if wide.suits_winograd(x, kernel, strides, padding):
            return wide.winograd(x, kernel, padding)
        if math.prod(jax.eval_shape(library, x, kernel).shape[1:3]) > FEW_PIXELS:
            return library(x, kernel)
        if wide.suits_taps(x, kernel, strides, padding):
            return wide.by_taps(x, kernel, strides, padding)
        unfolded = jnp.concatenate(windows(x, kernel, strides, padding), axis=-1)
        flat = unfolded.reshape(-1, unfolded.shape[-1]) @ kernel.reshape(-1, kernel.shape[-1])
        return flat.reshape(*unfolded.shape[:3], -1)

    return library, product


def _kernel_gradient(x, d_y, kernel, strides, padding):
    """Products of windows and `d_y`, of as many pictures at a time as fit into the cache."""
    if wide.suits_winograd(x, kernel, strides, padding):
        return wide.winograd_kernel_gradient(x, d_y, padding)
    few = math.prod(d_y.shape[1:3]) <= FEW_PIXELS
    if few and wide.suits_taps(x, kernel, strides, padding):
        return wide.taps_kernel_gradient(x, d_y, kernel, strides, padding)
    (*sides, channels, out), (batch, *pixels) = kernel.shape, d_y.shape[:3]
    width = math.prod(sides) * channels
    # The rows may be spread over the devices, each of which sums its own; then they meet once.
    devices = math.gcd(batch, jax.device_count())
    own = batch // devices
    pictures = _pictures(own, max(math.prod(pixels), 1), width)

    def by_device(a):
        # Within the loop: what is reshaped before it is computed again and written once more.
        return a.reshape(devices, own, *a.shape[1:])

    def unfolded(x):
        # Slices that are not written out are not vectorised.
        slices = jax.lax.optimization_barrier(windows(x, kernel, strides, padding))
        return jnp.concatenate(slices, axis=-1).reshape(-1, width)

    def at_once(x, d_y):
        over_rows = (((0,), (0,)), ((), ()))
        both = unfolded(x), d_y.reshape(-1, out)
        return jax.lax.dot_general(*both, over_rows, preferred_element_type=jnp.float32)

    def turned(x, d_y):
        # This order and this transposition are faster, until what is to be turned back is large.
        rows = jax.lax.optimization_barrier(d_y.reshape(-1, out).T)
        return jnp.matmul(rows, unfolded(x), preferred_element_type=jnp.float32)

    def add(total, first):
        parts = by_device(x), by_device(d_y)
        some = [jax.lax.dynamic_slice_in_dim(part, first, pictures, axis=1) for part in parts]
        return total + jax.vmap(turned)(*some), None

    if pictures == own:
        total = jax.vmap(at_once)(by_device(x), by_device(d_y)).sum(0)
    else:
        start = jnp.zeros((devices, out, width), jnp.float32)
        total = jax.lax.scan(add, start, jnp.arange(0, own, pictures))[0].sum(0).T
    return total.reshape(kernel.shape).astype(kernel.dtype)


def _pictures(count: int, pixels: int, width: int) -> int:
    """How many of `count` pictures at a time: they have many windows, which stay in the cache."""
    least = max(-(-FEW_WINDOWS // pixels), -(-SMALL // (pixels * width)))
    return next((n for n in range(least, count) if count % n == 0), count)


def _forward(x, kernel, strides, padding):
    return convolve(x, kernel, strides, padding), (x, kernel)


def _backward(strides, padding, residuals, d_y):
    library, product = _choices(strides, padding)

    def on_cpu(x, kernel, d_y):
        if wide.suits_winograd(x, kernel, strides, padding):
            d_x = wide.winograd_input_gradient(d_y, kernel, padding)
        else:
            (d_x,) = jax.vjp(lambda x: product(x, kernel), x)[1](d_y)
        return d_x, _kernel_gradient(x, d_y, kernel, strides, padding)

    def elsewhere(x, kernel, d_y):
        return jax.vjp(library, x, kernel)[1](d_y)

    return jax.lax.platform_dependent(*residuals, d_y, cpu=on_cpu, default=elsewhere)


convolve.defvjp(_forward, _backward)


class Conv(nn.Module):
    """`convolve` with a bias; the same parameters as a `flax.linen.Conv` over pictures.

    Attributes:
        features: channels of the output.
        sides: height and width of the kernel in pixels.
        strides: from one window to the next, in pixels.
        padding: zeros above and below, left and right, or "SAME" (ceil(size / stride) windows).
        use_bias: whether a bias is added.
        dtype: type of the computation and of the output; parameters are float32.
        kernel_init: initialiser of the kernel [height width channels features].
    """

    features: int
    sides: Pair
    strides: Pair = (1, 1)
    padding: str | tuple[Pair, Pair] = "SAME"
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "B H W channels"]) -> Float[Array, "B y x out"]:
        shape = (*self.sides, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32).astype(self.dtype)
        padding = self.padding
        if isinstance(padding, str):
            padding = jax.lax.padtype_to_pads(x.shape[1:3], self.sides, self.strides, padding)
        padding = tuple(tuple(pair) for pair in padding)
        y = convolve(x.astype(self.dtype), kernel, self.strides, padding)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype)
        return y
