"""Convolution by products of matrices against jax.lax's own, with gradients."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.nn.kernels import convolution
from mmjax.nn.layers.conv import Conv, convolve
from tests.processors import assert_library_convolutions

NAMES = ("NHWC", "HWIO", "NHWC")


@pytest.fixture(autouse=True)
def many(monkeypatch):
    """What is not few is many."""
    monkeypatch.setattr(convolution, "MANY_WINDOWS", 1)


def normal(*shape, dtype=jnp.float32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def library(x, kernel, strides, padding):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NAMES)


def output_and_gradients(function, *args):
    def loss(*args):
        y = function(*args)
        return (y.astype(jnp.float32) ** 3).sum(), y

    return jax.jit(jax.grad(loss, tuple(range(len(args))), has_aux=True))(*args)


# Few pixels and many; strides that leave pixels over; kernels that are no square; no padding.
CASES = {
    "few": ((4, 4), (3, 3), (1, 1), ((1, 1), (1, 1))),
    "many": ((13, 12), (3, 3), (1, 1), ((1, 1), (1, 1))),
    "few strided": ((7, 8), (3, 3), (2, 2), ((1, 1), (1, 1))),
    "many, flat": ((13, 12), (1, 3), (1, 1), ((0, 0), (1, 1))),
    "many, long strides": ((25, 24), (3, 2), (4, 3), ((1, 1), (0, 0))),
    "many strided": ((24, 23), (3, 5), (2, 1), ((1, 1), (0, 3))),
    "wide": ((7, 5), (2, 4), (1, 3), ((0, 1), (2, 2))),
    "whole picture": ((4, 4), (4, 4), (4, 4), ((0, 0), (0, 0))),
}


@pytest.mark.parametrize("case", CASES)
def test_convolve_equals_the_library(case):
    size, sides, strides, padding = CASES[case]
    x, kernel = normal(2, *size, 3), normal(*sides, 3, 5, seed=1)
    own = output_and_gradients(lambda x, k: convolve(x, k, strides, padding), x, kernel)
    other = output_and_gradients(lambda x, k: library(x, k, strides, padding), x, kernel)
    few = np.prod(own[1].shape[1:3]) <= convolution.FEW_PIXELS
    assert few == ("many" not in case)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-2), own, other)


def test_few_windows_in_many_pixels_are_the_librarys(monkeypatch):
    x, kernel = normal(2, 9, 9, 3), normal(3, 3, 3, 5, seed=1)

    def gradient(x, kernel):
        return jax.grad(lambda k: convolve(x, k).sum())(kernel)

    def program(least):
        monkeypatch.setattr(convolution, "MANY_WINDOWS", least)
        return jax.jit(lambda *given: gradient(*given)).lower(x, kernel).as_text()

    assert "stablehlo.convolution" in program(2 * 7 * 7 + 1)
    assert "stablehlo.convolution" not in program(2 * 7 * 7)


@pytest.mark.parametrize("size", [4, 12])
def test_half_precision_stays_near(size):
    x, kernel = normal(2, size, size, 8, dtype=jnp.bfloat16), normal(3, 3, 8, 4, seed=1) / 8
    around = ((1, 1), (1, 1))
    half = lambda x, k: convolve(x, k.astype(jnp.bfloat16), (1, 1), around)  # noqa: E731
    own = output_and_gradients(half, x, kernel)
    exact = lambda x, k: library(x, k, (1, 1), around)  # noqa: E731
    other = output_and_gradients(exact, x.astype(jnp.float32), kernel)
    assert (own[1].dtype, own[0][0].dtype, own[0][1].dtype) == (
        jnp.bfloat16,
        jnp.bfloat16,
        jnp.float32,
    )
    for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(other), strict=True):
        assert np.abs(a.astype(jnp.float32) - b).max() < 0.03 * np.abs(b).max()


def test_a_gradient_of_a_gradient_is_the_librarys():
    x, kernel, around = normal(1, 4, 4, 2), normal(3, 3, 2, 3, seed=1), ((1, 1), (1, 1))

    def penalty(function):
        inner = jax.grad(lambda x, k: (function(x, k, (1, 1), around) ** 3).sum())
        return jax.jit(jax.grad(lambda k: (inner(x, k) ** 2).sum()))(kernel)

    np.testing.assert_allclose(penalty(convolve), penalty(library), rtol=1e-3)


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 0), (2, 1))])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_layer_equals_linens(padding, strides):
    x = normal(2, 7, 6, 3)
    own, other = (
        layer(4, (3, 3), strides, padding=padding, kernel_init=nn.initializers.normal(1.0))
        for layer in (Conv, nn.Conv)
    )
    variables = own.init(jax.random.key(0), x)
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, b),
        variables,
        other.init(jax.random.key(0), x),
    )
    variables = jax.tree.map(lambda p: p + 0.1, variables)
    np.testing.assert_allclose(own.apply(variables, x), other.apply(variables, x), atol=1e-4)


def assert_near(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize(("batch", "size"), [(9, 16), (3, 22)])
def test_some_images_at_a_time(batch, size):
    """9 of them three at a time, 3 larger ones one after the other."""
    x, kernel, around = (
        normal(batch, size, size, 64),
        normal(3, 3, 64, 4, seed=1) / 24,
        ((1, 1), (1, 1)),
    )
    both = [
        lambda x, k, f=f: output_and_gradients(lambda x, k: f(x, k, (1, 1), around), x, k)
        for f in (convolve, library)
    ]
    assert "scan" in str(jax.make_jaxpr(both[0])(x, kernel))
    jax.tree.map(assert_near, *(f(x, kernel) for f in both))


@pytest.mark.parametrize(
    ("batch", "size", "channels", "out"),
    [(8, 12, 3, 5), (24, 24, 64, 5), (128, 8, 128, 128), (8, 3, 128, 128)],
)
def test_devices_that_share_a_batch_only_sum_the_kernels_gradient(batch, size, channels, out):
    """They do so once, after all of their pictures."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    x, kernel = normal(batch, size, size, channels), normal(3, 3, channels, out, seed=1)
    shared = jax.device_put(x, jax.NamedSharding(mesh, jax.P("data")))

    @jax.jit
    def gradient(x, kernel):
        loss = lambda x, k: (convolve(x, k, (1, 1), ((1, 1), (1, 1))) ** 3).sum()  # noqa: E731
        return jax.grad(loss, (0, 1))(x, kernel)

    expected = gradient(x, kernel)
    with jax.set_mesh(mesh):
        jax.tree.map(assert_near, gradient(shared, kernel), expected)
    with jax.set_mesh(mesh):
        program = gradient.lower(shared, kernel).compile().as_text()
    assert len(re.findall(r" all-reduce\(", program)) == 1
    assert " all-reduce(" in program[program.index("\nENTRY") :]
    assert "all-gather" not in program
    assert "all-to-all" not in program


def test_elsewhere_it_is_the_librarys_convolution():
    """What is not CPU keeps its own convolutions: seen in the program lowered for a TPU."""
    x, kernel = normal(1, 5, 5, 2), normal(3, 3, 2, 3, seed=1)
    assert_library_convolutions(convolve, x, kernel, on_cpu=1)
