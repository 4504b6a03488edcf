"""Convolution blocks against loops over pixels, and their options."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn.layers.convolution import NORMS, ConvolutionBlock, max_pool


def image(channels=2, side=6):
    random = np.random.default_rng(0)
    return jnp.asarray(random.normal(size=(2, side, side, channels)), jnp.float32)


def loop_convolution(x, kernel, bias):
    """3x3, zeros outside the picture."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.zeros((*x.shape[:3], kernel.shape[-1]))
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            window = padded[:, row : row + 3, column : column + 3]
            out[:, row, column] = np.einsum("bijc,ijco->bo", window, kernel) + bias
    return out


def test_max_block_equals_loops():
    block = ConvolutionBlock(4, stride=2, downsample="max", norm="none")
    x = image()
    variables = jax.jit(block.init)(jax.random.key(0), x)
    conv = variables["params"]["conv"]
    full = np.maximum(loop_convolution(np.asarray(x), conv["kernel"], conv["bias"]), 0)
    expected = full.reshape(2, 3, 2, 3, 2, 4).max((2, 4))
    np.testing.assert_allclose(jax.jit(block.apply)(variables, x), expected, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_max_pool_equals_the_reduction_over_windows(stride):
    x = image(channels=3, side=7)

    def cubes(pool):
        return jax.jit(jax.value_and_grad(lambda x: (pool(x) ** 3).sum()))(x)

    expected = cubes(lambda x: nn.max_pool(x, (stride, stride), (stride, stride)))
    jax.tree.map(np.testing.assert_allclose, cubes(lambda x: max_pool(x, stride)), expected)


def test_strided_block_takes_every_second_pixel():
    x = image()
    block = ConvolutionBlock(4, stride=2, downsample="stride", norm="none")
    variables = jax.jit(block.init)(jax.random.key(0), x)
    conv = variables["params"]["conv"]
    # An even picture under SAME padding with stride 2 is padded below and to the right only.
    full = np.maximum(loop_convolution(np.asarray(x), conv["kernel"], conv["bias"]), 0)
    np.testing.assert_allclose(jax.jit(block.apply)(variables, x), full[:, 1::2, 1::2], atol=1e-5)


def test_group_norm_uses_groups_of_sixteen_channels():
    block = ConvolutionBlock(32, norm="group", activation="identity")
    out, _ = jax.jit(block.init_with_output)(jax.random.key(0), image() * 10)
    groups = np.asarray(out).reshape(2, 36, 2, 16)
    np.testing.assert_allclose(groups.mean((1, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(groups.std((1, 3)), 1, atol=1e-3)


def test_layer_norm_is_over_the_channels_of_a_pixel():
    block = ConvolutionBlock(8, norm="layer", activation="identity")
    out, _ = jax.jit(block.init_with_output)(jax.random.key(0), image() * 10)
    np.testing.assert_allclose(out.mean(-1), 0, atol=1e-4)


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_norms_do_not_mix_rows(norm):
    x = image()
    block = ConvolutionBlock(16, norm=norm)
    variables = jax.jit(block.init)(jax.random.key(0), x)
    apply = jax.jit(block.apply)
    other = apply(variables, x.at[1].set(7.0))
    np.testing.assert_array_equal(apply(variables, x)[0], other[0])


@pytest.mark.parametrize(
    "option", [{"downsample": "mean"}, {"norm": "batch"}, {"activation": "rleu"}]
)
def test_unknown_option_lists_the_known(option):
    (name,) = option
    with pytest.raises(UserError, match=f"unknown {name} '.*': choose one of "):
        ConvolutionBlock(16, **option).init(jax.random.key(0), image())


def test_group_norm_needs_divisible_channels():
    with pytest.raises(UserError, match="8 channels do not split into groups of 16"):
        ConvolutionBlock(8).init(jax.random.key(0), image())
