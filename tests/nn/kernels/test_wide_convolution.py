"""Convolutions with fewer products against jax.lax's own."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.nn.kernels.convolve import convolve
from mmjax.nn.kernels.wide_convolution import (
    by_taps,
    suits_taps,
    suits_winograd,
    taps_kernel_gradient,
    winograd,
    winograd_input_gradient,
    winograd_kernel_gradient,
)

NAMES = ("NHWC", "HWIO", "NHWC")
ONE, AROUND = (1, 1), ((1, 1), (1, 1))


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def library(x, kernel, strides=ONE, padding=AROUND):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NAMES)


def assert_near(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max(initial=0.0))


@pytest.mark.parametrize(
    "padding", [AROUND, ((0, 0), (0, 0)), ((2, 2), (2, 2)), ((0, 1), (2, 0)), ((2, 1), (0, 2))]
)
@pytest.mark.parametrize("sides", [(6, 8), (5, 7), (3, 4)])
def test_tiles_give_what_the_library_does(sides, padding):
    x, kernel = normal(2, *sides, 3), normal(3, 3, 3, 5, seed=1)
    y, backward = jax.vjp(lambda x, k: library(x, k, ONE, padding), x, kernel)
    assert_near(jax.jit(winograd, static_argnums=2)(x, kernel, padding), y)
    d_y = normal(*y.shape, seed=2)
    d_x, d_kernel = backward(d_y)
    assert_near(jax.jit(winograd_input_gradient, static_argnums=2)(d_y, kernel, padding), d_x)
    own = jax.jit(winograd_kernel_gradient, static_argnums=2)(x, d_y, padding)
    assert_near(own, d_kernel)


# Sides of the picture and of the kernel, strides, zeros around it.
TAPS = {
    "all around": ((3, 3), (3, 3), ONE, AROUND),
    "one pixel": ((1, 1), (3, 3), ONE, AROUND),
    "strided": ((6, 5), (3, 3), (2, 2), AROUND),
    "odd strides": ((7, 6), (3, 2), (3, 1), ((2, 0), (0, 1))),
    "wide": ((2, 3), (5, 4), ONE, ((3, 2), (2, 1))),
    "none": ((4, 3), (2, 3), ONE, ((0, 0), (0, 0))),
    "more than the kernel": ((2, 2), (2, 2), ONE, ((3, 3), (0, 0))),
    "pixels left out": ((4, 5), (1, 2), (3, 4), ((0, 0), (1, 0))),
}


@pytest.mark.parametrize("case", TAPS)
def test_taps_give_what_the_library_does(case):
    size, sides, strides, padding = TAPS[case]
    x, kernel = normal(2, *size, 3), normal(*sides, 3, 5, seed=1)
    y, backward = jax.vjp(lambda x, k: library(x, k, strides, padding), x, kernel)
    own, own_backward = jax.vjp(lambda x: by_taps(x, kernel, strides, padding), x)
    assert_near(own, y)
    d_y = normal(*y.shape, seed=2)
    assert_near(own_backward(d_y)[0], backward(d_y)[0])
    assert_near(taps_kernel_gradient(x, d_y, kernel, strides, padding), backward(d_y)[1])


def products(function, *args):
    """Multiplications of all products of matrices in a program."""
    return sum(map(_products, jax.make_jaxpr(function)(*args).eqns))


def _products(equation):
    if equation.primitive.name != "dot_general":
        inner = equation.params.get("jaxpr")
        return sum(map(_products, inner.eqns)) if inner else 0
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return int(np.prod([left[axis] for axis in contracted]) * equation.outvars[0].aval.size)


def test_there_are_fewer_products():
    kernel, size = normal(3, 3, 4, 5), 2 * 4 * 5
    x = normal(2, 6, 4, 4)
    assert products(lambda *args: winograd(*args, AROUND), x, kernel) == 16 * (3 * 2) * size
    gradient = lambda *args: winograd_kernel_gradient(*args, AROUND)  # noqa: E731
    assert products(gradient, x, normal(2, 6, 4, 5)) == 16 * (3 * 2) * size
    x = normal(2, 3, 3, 4)
    reached = sum(
        0 <= i + a - 1 < 3 and 0 <= j + b - 1 < 3
        for i, j, a, b in itertools.product(range(3), repeat=4)
    )
    assert reached == 49
    assert products(lambda *args: by_taps(*args, ONE, AROUND), x, kernel) == reached * size
    gradient = lambda *args: taps_kernel_gradient(*args, ONE, AROUND)  # noqa: E731
    assert products(gradient, x, normal(2, 3, 3, 5), kernel) == reached * size


@pytest.mark.parametrize(
    ("x", "out", "strides", "dtype", "tiles", "taps"),
    [
        ((128, 12, 12, 128), 128, ONE, jnp.float32, True, False),
        ((128, 7, 7, 64), 256, ONE, jnp.float32, True, False),
        ((128, 5, 5, 512), 512, ONE, jnp.float32, False, False),
        ((512, 4, 4, 256), 256, ONE, jnp.float32, True, True),
        ((128, 3, 3, 512), 512, ONE, jnp.float32, False, True),
        ((128, 12, 12, 128), 64, ONE, jnp.float32, False, False),
        ((128, 3, 3, 128), 64, ONE, jnp.float32, False, False),
        ((128, 12, 12, 128), 128, (2, 2), jnp.float32, False, False),
        ((128, 12, 12, 128), 128, ONE, jnp.bfloat16, False, False),
        ((128, 3, 3, 512), 512, ONE, jnp.bfloat16, False, False),
        ((1, 12, 12, 128), 128, ONE, jnp.float32, False, False),
        ((256, 64, 64, 128), 128, ONE, jnp.float32, True, False),
        ((256, 66, 64, 128), 128, ONE, jnp.float32, False, False),
        ((0, 12, 12, 128), 128, ONE, jnp.float32, False, False),
        ((0, 3, 3, 128), 128, ONE, jnp.float32, False, True),
        ((1, 0, 3, 128), 128, ONE, jnp.float32, False, False),
    ],
)
def test_they_are_used_where_they_are_faster(x, out, strides, dtype, tiles, taps):
    x, kernel = jax.ShapeDtypeStruct(x, dtype), jax.ShapeDtypeStruct((3, 3, x[-1], out), dtype)
    assert suits_winograd(x, kernel, strides, AROUND) == tiles
    assert suits_taps(x, kernel, strides, AROUND) == taps


def test_tiles_need_little_padding_and_kernels_of_three():
    x = jax.ShapeDtypeStruct((128, 12, 12, 128), jnp.float32)
    for sides, padding in (((3, 3), ((3, 1), (1, 1))), ((5, 3), AROUND), ((1, 3), AROUND)):
        kernel = jax.ShapeDtypeStruct((*sides, 128, 128), jnp.float32)
        assert not suits_winograd(x, kernel, ONE, padding)


@pytest.mark.parametrize(("batch", "size"), [(128, 8), (2, 3), (0, 3)])
def test_convolve_uses_them_and_keeps_its_derivatives(batch, size):
    x, kernel = normal(batch, size, size, 128), normal(3, 3, 128, 128, seed=1) / 34
    assert suits_winograd(x, kernel, ONE, AROUND) != suits_taps(x, kernel, ONE, AROUND)

    def gradients(function):
        loss = lambda x, k: (function(x, k, ONE, AROUND) ** 3).sum()  # noqa: E731
        return jax.jit(jax.value_and_grad(loss, (0, 1)))(x, kernel)

    program = jax.jit(convolve, static_argnums=(2, 3)).lower(x, kernel, ONE, AROUND).compile()
    assert "convolution(" not in program.as_text()
    jax.tree.map(assert_near, gradients(convolve), gradients(library))


@pytest.mark.parametrize(("batch", "size"), [(128, 8), (2, 3)])
def test_a_picture_changes_no_other(batch, size):
    x, kernel = normal(batch, size, size, 128), normal(3, 3, 128, 128, seed=1)
    y = [convolve(x, kernel, ONE, AROUND) for x in (x, x.at[0].set(jnp.nan))]
    np.testing.assert_array_equal(y[0][1:], y[1][1:])
    assert np.isnan(y[1][0]).all()


def test_gradients_of_gradients_are_the_librarys():
    x, kernel = normal(128, 8, 8, 128), normal(3, 3, 128, 128, seed=1) / 34

    def penalty(function):
        inner = jax.grad(lambda x: (function(x, kernel, ONE, AROUND) ** 3).sum())
        return jax.jit(jax.grad(lambda x: (inner(x) ** 2).sum()))(x)

    assert_near(penalty(convolve), penalty(library))
