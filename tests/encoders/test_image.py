"""Image encoders: their options, their gradients at the pixels, and the user's mistakes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.image.cnn import Cnn
from mmjax.encoders.image.pixels import normalise
from mmjax.encoders.image.vit import Vit
from mmjax.errors import UserError
from tests.encoders.spec import images, shapes_of

PUBLISHED = Cnn(
    32,
    channels=(8, 16),
    downsample="max",
    norm="none",
    output="flatten",
    output_activation="tanh",
)


def test_normalise_maps_bytes_to_minus_one_to_one():
    value = jnp.asarray([0, 255, 51], jnp.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(normalise(value, jnp.float32).ravel(), [-1, 1, -0.6], atol=1e-6)
    other = normalise(value, jnp.float32, mean=0.9, std=0.2).ravel()
    np.testing.assert_allclose(other, [-4.5, 0.5, -3.5], atol=1e-5)
    channels = normalise(value, jnp.float32, mean=(0.5, 0.5, 0.1), std=(0.5, 2.0, 0.1)).ravel()
    np.testing.assert_allclose(channels, [-1, 0.25, 1], atol=1e-5)


@pytest.mark.parametrize("encoder", [Vit(16), Cnn(16)], ids=["vit", "cnn"])
def test_absent_pixels_have_exactly_no_gradient(encoder):
    mask = jnp.array([True, False])
    pixels = normalise(images(), jnp.float32)
    variables = jax.jit(encoder.init)(jax.random.key(0), images())
    dirty = jnp.where(mask[:, None, None, None], pixels, jnp.nan)

    @jax.jit
    def run(pixels):
        tokens = encoder.apply(variables, pixels, mask, method="from_pixels")
        return (tokens.x**2).sum()

    assert run(dirty) == run(pixels)
    gradient = np.asarray(jax.grad(run)(dirty))
    np.testing.assert_array_equal(gradient[1], 0)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[0]).max() > 0


@pytest.mark.parametrize(
    ("encoder", "count"),
    [
        (Vit(16), 64),
        (Vit(16, patch_size=16), 16),
        (Vit(16, stem=(16, 32, 48)), 64),
        (Vit(16, pool=4), 4),
        (Vit(16, pool=8), 1),
        (Cnn(16), 64),
        (Cnn(16, strides=(2, 1, 4)), 64),
        (Cnn(16, patch_size=4, strides=(1, 1, 2)), 64),
        (Cnn(16, downsample="max", strides=(2, 4, 4)), 4),
        (Cnn(16, output="mean"), 1),
        (Cnn(16, output="max"), 1),
        (Cnn(16, output="flatten"), 1),
    ],
)
def test_number_of_tokens(encoder, count):
    tokens, _ = shapes_of(encoder)
    assert tokens.x.shape == (2, count, 16)


def test_vit_pool_is_the_mean_over_windows():
    one, four = Vit(16, layers=1, patch_size=4), Vit(16, layers=1, patch_size=4, pool=2)
    variables = jax.jit(one.init)(jax.random.key(0), images())
    grid = jax.jit(one.apply)(variables, images()).x.reshape(2, 2, 2, 2, 2, 16)
    pooled = jax.jit(four.apply)(variables, images()).x.reshape(2, 2, 2, 16)
    np.testing.assert_allclose(pooled, grid.mean((2, 4)), atol=1e-6)


def test_vit_tells_places_apart():
    encoder = Vit(16, layers=1)
    flat = jnp.full((1, 16, 16, 3), 100, jnp.uint8)
    variables = jax.jit(encoder.init)(jax.random.key(0), flat)
    x = jax.jit(encoder.apply)(variables, flat).x[0]
    assert np.abs(x[0] - x[1]).max() > 1e-2


def test_cnn_grid_and_mean_agree_through_a_linear_projection():
    grid, mean = Cnn(16), Cnn(16, output="mean")
    variables = jax.jit(grid.init)(jax.random.key(0), images())
    tokens = jax.jit(grid.apply)(variables, images()).x
    pooled = jax.jit(mean.apply)(variables, images()).x
    np.testing.assert_allclose(pooled[:, 0], tokens.mean(1), atol=1e-5)


def test_cnn_max_is_the_maximum_over_the_cells():
    cells = Cnn(16, channels=(16,), norm="none")
    most = cells.clone(output="max")
    variables = jax.jit(cells.init)(jax.random.key(0), images())
    block = jax.nn.relu(
        nn.Conv(16, (3, 3), (2, 2)).apply(
            {"params": variables["params"]["block_0"]["conv"]}, normalise(images(), jnp.float32)
        )
    )
    dense = variables["params"]["projection"]
    expected = block.max((1, 2)) @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(
        jax.jit(most.apply)(variables, images()).x[:, 0], expected, atol=1e-5
    )


def test_published_network_has_its_parameters():
    """Conv 8, Conv 16, Dense 32 on 64x64, as victorzhou.com's easy-VQA: 224 + 1168 + 131104."""
    tokens, variables = shapes_of(PUBLISHED)
    count = sum(p.size for p in jax.tree.leaves(variables))
    assert count == (3 * 9 * 8 + 8) + (8 * 9 * 16 + 16) + (16 * 16 * 16 * 32 + 32)
    assert tokens.x.shape == (2, 1, 32)


def test_published_network_ends_in_tanh():
    out, variables = jax.jit(PUBLISHED.init_with_output)(jax.random.key(0), images())
    projection = variables["params"]["projection"]
    plain = PUBLISHED.clone(output_activation="identity")
    before = jax.jit(plain.apply)(variables, images()).x
    np.testing.assert_allclose(out.x, np.tanh(before), atol=1e-6)
    assert projection["kernel"].shape == (4 * 4 * 16, 32)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (Vit(16, patch_size=7), "64x64 does not split into patches of 7x7"),
        (Vit(16, patch_size=6, stem=(16, 16)), "patch_size 6 is not a multiple of 4"),
        (Vit(16, pool=3), "grid of 8x8 tokens does not split into windows of 3x3"),
        (Vit(18), "width 18 does not split into 4 heads"),
        (Cnn(16, strides=(2, 2)), "2 strides for 3 channels"),
        (Cnn(16, output="grit"), "unknown output 'grit': choose one of flatten, grid, max, mean"),
        (Cnn(16, patch_size=5), "64x64 does not split into patches of 5x5"),
    ],
)
def test_mistakes_are_told_in_one_line(encoder, message):
    with pytest.raises(UserError, match=message) as error:
        shapes_of(encoder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoder", [Vit(16), Cnn(16)], ids=["vit", "cnn"])
def test_float_images_are_refused(encoder):
    with pytest.raises(UserError, match="expected uint8 with values 0 to 255, got float32"):
        encoder.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
