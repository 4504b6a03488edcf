"""Convolutions with their norms, and pooling by windows that overlap, against Linen's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn import kernels
from mmjax.nn.layers.conv import DepthwiseConv, depthwise
from mmjax.nn.layers.conv_norm import BATCH_NORMS, ConvNorm
from mmjax.nn.layers.convolution import max_pool
from tests.processors import assert_library_convolutions


def image(channels=4, height=7, width=6, dtype=jnp.float32):
    random = np.random.default_rng(0)
    return jnp.asarray(random.normal(size=(2, height, width, channels)), dtype)


def output_and_gradients(function, *args):
    def loss(*args):
        y = function(*args)
        return (y**3).sum(), y

    return jax.jit(jax.grad(loss, tuple(range(len(args))), has_aux=True))(*args)


def assert_near(actual, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), actual, expected
    )


@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (5, 2)])
def test_depthwise_equals_a_convolution_of_groups(side, stride):
    x = image()
    grouped = nn.Conv(4, (side, side), stride, padding=side // 2, feature_group_count=4)
    variables = DepthwiseConv(side, stride).init(jax.random.key(0), x)
    variables = jax.tree.map(lambda p: p + 0.1, variables)
    params = variables["params"]
    assert params["kernel"].shape == (side, side, 4)

    def expected(x, kernel):
        same = {"kernel": kernel[:, :, None], "bias": params["bias"]}
        return grouped.apply({"params": same}, x)

    def actual(x, kernel):
        return DepthwiseConv(side, stride).apply({"params": params | {"kernel": kernel}}, x)

    args = (x, params["kernel"])
    assert_near(output_and_gradients(actual, *args), output_and_gradients(expected, *args))


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_is_the_same_on_accelerators(stride):
    """What runs there, run here; and that it does run there, in the program lowered for a TPU."""
    x, kernel = image(), image(height=3, width=3)[0]
    own = output_and_gradients(lambda x, k: depthwise(x, k, stride), x, kernel)
    with kernels.use(False):
        other = output_and_gradients(lambda x, k: depthwise(x, k, stride), x, kernel)
    assert_near(own, other)
    assert_library_convolutions(lambda x, k: depthwise(x, k, stride), x, kernel)


def test_depthwise_sums_in_float32():
    x = image(dtype=jnp.bfloat16)
    variables = DepthwiseConv().init(jax.random.key(0), x)
    exact = DepthwiseConv().apply(variables, x.astype(jnp.float32)).astype(jnp.bfloat16)
    out = DepthwiseConv().apply(variables, x)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(out, exact)


@pytest.mark.parametrize(("side", "stride"), [(1, 1), (1, 2), (3, 2), (7, 2)])
def test_without_a_norm_it_is_a_padded_convolution(side, stride):
    x = image()
    module = ConvNorm(5, side, stride, norm="none", activation="identity")
    variables = jax.tree.map(lambda p: p + 0.1, module.init(jax.random.key(0), x))
    conv = variables["params"]["conv"]
    kernel = conv["kernel"].reshape(side, side, 4, 5)
    plain = nn.Conv(5, (side, side), stride, padding=side // 2)
    expected = plain.apply({"params": {"kernel": kernel, "bias": conv["bias"]}}, x)
    np.testing.assert_allclose(module.apply(variables, x), expected, atol=1e-5)


@pytest.mark.parametrize("norm", sorted(BATCH_NORMS))
def test_norms_in_training(norm):
    """All but the batch norm give a row the same output whatever the other rows hold."""
    x = image()
    mask = jnp.ones(2, bool)
    module = ConvNorm(16, 3, norm=norm)
    variables = module.init(jax.random.key(0), x)

    @jax.jit
    def train(x):
        return module.apply(variables, x, mask, deterministic=False, mutable=["batch_stats"])[0]

    same = np.array_equal(train(x)[0], train(x.at[1].set(7.0))[0])
    assert same == (norm != "batch")


@pytest.mark.parametrize(
    ("stride", "side", "padding"), [(2, 3, 1), (1, 3, 1), (2, 3, 0), (3, 2, 0)]
)
def test_max_pool_of_overlapping_windows(stride, side, padding):
    x = image() - 3.0  # zeros around the picture would be noticed

    def expected(x):
        return nn.max_pool(x, (side, side), (stride, stride), [(padding, padding)] * 2)

    def actual(x):
        return max_pool(x, stride, side, padding)

    assert_near(output_and_gradients(actual, x), output_and_gradients(expected, x))


def test_a_map_smaller_than_a_window_is_told():
    with pytest.raises(UserError, match="a map of 1x6 is smaller than a window of 2x2"):
        max_pool(image(height=1), 2)


def test_unknown_norm_lists_the_known():
    with pytest.raises(UserError, match="unknown norm 'bacth': choose one of batch, group, layer"):
        ConvNorm(16, norm="bacth").init(jax.random.key(0), image())
