"""What every encoder promises: masked content is nothing, any presence is one program.

A new encoder joins by one line in ENCODERS. One program per encoder serves most tests here, so
that compiling it is paid once.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.image.cnn import Cnn
from mmjax.encoders.image.vit import Vit
from mmjax.encoders.text.bag_of_words import BagOfWords
from mmjax.encoders.text.lstm import TextLstm
from mmjax.encoders.text.transformer import TextTransformer

WIDTH, ROWS = 64, 4


def image(seed):
    """Pictures, and which of them are there."""
    value = np.random.default_rng(seed).integers(0, 256, (ROWS, 16, 16, 3), np.uint8)
    return value, np.array([True, False, True, False])


def text(seed):
    """Word ids, and which are real: a full row, a padded one, an empty one, one with gaps."""
    value = np.random.default_rng(seed).integers(0, 1000, (ROWS, 5), np.int32)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 1]], bool)
    return value, mask


def sizes(rows, *shape):
    """The shapes of a large batch: value and mask."""
    dtype, mask = (jnp.uint8, (rows,)) if len(shape) == 3 else (jnp.int32, (rows, *shape))
    return jax.ShapeDtypeStruct((rows, *shape), dtype), jax.ShapeDtypeStruct(mask, bool)


LARGE_IMAGE, LARGE_TEXT = sizes(4096, 224, 224, 3), sizes(4096, 512)

# name: (class, example data, further options, large data)
ENCODERS = {
    "vit": (Vit, image, {"layers": 1}, LARGE_IMAGE),
    "vit_stem": (Vit, image, {"layers": 1, "stem": (16, 32), "pool": 2}, LARGE_IMAGE),
    "cnn": (Cnn, image, {}, LARGE_IMAGE),
    "cnn_flatten": (Cnn, image, {"output": "flatten", "downsample": "max"}, LARGE_IMAGE),
    "cnn_max": (Cnn, image, {"output": "max", "norm": "none"}, LARGE_IMAGE),
    "cnn_mean": (Cnn, image, {"output": "mean", "norm": "layer"}, LARGE_IMAGE),
    "text_transformer": (TextTransformer, text, {"layers": 1}, LARGE_TEXT),
    "lstm": (TextLstm, text, {}, LARGE_TEXT),
    "lstm_last": (TextLstm, text, {"output": "last", "layers": 2}, LARGE_TEXT),
    "bag_of_words": (BagOfWords, text, {}, LARGE_TEXT),
    "bag_of_words_counts": (BagOfWords, text, {"bag": "counts"}, LARGE_TEXT),
}

every_encoder = pytest.mark.parametrize("name", ENCODERS)


class Case(NamedTuple):
    """One encoder, compiled: `step(value, mask)` -> tokens, and a gradient of the parameters.

    `traces` grows by one each time that `step` is traced.
    """

    encoder: Any
    variables: Any
    value: jax.Array
    mask: jax.Array
    step: Any
    traces: list


def parameters(module, *args):
    """Parameters of the right shapes, none of them zero, without compiling an initialisation."""
    random = np.random.default_rng(9)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args)
    return jax.tree.map(
        lambda p: jnp.asarray(random.normal(0.05, 0.15, p.shape), jnp.float32), shapes
    )


@functools.cache
def case(name):
    constructor, data, options, _ = ENCODERS[name]
    encoder = constructor(WIDTH, **options)
    value, mask = (jnp.asarray(x) for x in data(0))
    variables = parameters(encoder, value)
    traces = []

    @jax.jit
    def step(value, mask):
        traces.append(None)

        def loss(variables):
            tokens = encoder.apply(variables, value, mask)
            return (tokens.x**2).sum(), tokens

        gradient, tokens = jax.grad(loss, has_aux=True)(variables)
        return tokens, gradient

    return Case(encoder, variables, value, mask, step, traces)


def corrupt(value, mask):
    """Other content where masked; for words, real ones of the same text and impossible ids."""
    if value.dtype == jnp.uint8:
        return jnp.where(mask[:, None, None, None], value, 255 - value)
    impossible = jnp.arange(value.size, dtype=value.dtype).reshape(value.shape) * 7919 - 5000
    other = jnp.where(jnp.arange(value.shape[1]) % 2 == 0, value[:, ::-1], impossible)
    return jnp.where(mask, value, other)


def assert_same_bits(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@every_encoder
def test_masked_content_changes_no_bit_of_output_or_gradient(name):
    _, _, value, mask, step, _ = case(name)
    clean, dirty = step(value, mask), step(corrupt(value, mask), mask)
    assert_same_bits(dirty, clean)
    assert max(np.abs(g).max() for g in jax.tree.leaves(clean[1])) > 0


@every_encoder
def test_masked_content_changes_no_bit_with_dropout(name):
    constructor, _, options, _ = ENCODERS[name]
    _, variables, value, mask, *_ = case(name)
    encoder = constructor(WIDTH, **options, dropout=0.3)

    @jax.jit
    def train(value):
        rngs = {"dropout": jax.random.key(3, impl="rbg")}
        return encoder.apply(variables, value, mask, deterministic=False, rngs=rngs)

    clean = train(value)
    assert_same_bits(train(corrupt(value, mask)), clean)
    assert not np.allclose(clean.x, case(name).step(value, mask)[0].x)


@pytest.mark.parametrize("name", ["vit", "cnn", "text_transformer", "lstm", "bag_of_words"])
def test_masked_content_changes_no_bit_without_jit(name):
    encoder, variables, value, mask, *_ = case(name)
    clean, dirty = (encoder.apply(variables, v, mask) for v in (value, corrupt(value, mask)))
    assert_same_bits(dirty, clean)


@every_encoder
def test_shapes_and_exact_zeros_where_masked(name):
    _, _, value, mask, step, _ = case(name)
    tokens, _ = step(value, mask)
    assert tokens.x.shape == (*tokens.mask.shape, WIDTH)
    x, real = np.asarray(tokens.x), np.asarray(tokens.mask)
    np.testing.assert_array_equal(x[~real], 0)
    assert np.abs(x[real]).max(-1).min() > 0
    present = np.asarray(mask).reshape(ROWS, -1).any(1)
    np.testing.assert_array_equal(real.any(1), present)


@every_encoder
def test_no_mask_is_all_real(name):
    encoder, variables, value, mask, step, _ = case(name)
    without = jax.jit(encoder.apply)(variables, value)
    tokens, _ = step(value, jnp.ones_like(mask))
    np.testing.assert_array_equal(without.mask, tokens.mask)
    np.testing.assert_allclose(without.x, tokens.x, atol=1e-5)


@every_encoder
def test_all_absent_gives_zeros_and_zero_gradients(name):
    _, _, value, mask, step, _ = case(name)
    tokens, gradient = step(value, jnp.zeros_like(mask))
    np.testing.assert_array_equal(tokens.x, 0)
    assert not tokens.mask.any()
    assert_same_bits(gradient, jax.tree.map(jnp.zeros_like, gradient))


@every_encoder
def test_a_row_does_not_depend_on_which_others_are_there(name):
    _, _, value, mask, step, _ = case(name)
    alone, _ = step(value, jnp.zeros_like(mask).at[0].set(mask[0]))
    np.testing.assert_array_equal(alone.x[0], step(value, mask)[0].x[0])


@every_encoder
def test_every_presence_is_one_program(name):
    _, _, value, mask, step, traces = case(name)
    for presence in (mask, ~mask, jnp.zeros_like(mask), jnp.ones_like(mask)):
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(step(value, presence)))
    assert len(traces) == 1


@every_encoder
def test_bfloat16_is_near_float32(name):
    constructor, _, options, _ = ENCODERS[name]
    _, variables, value, mask, step, _ = case(name)
    half = constructor(WIDTH, **options, dtype=jnp.bfloat16)
    near = jax.jit(half.apply)(variables, value, mask).x
    exact, _ = step(value, mask)
    assert near.dtype == jnp.bfloat16
    distance = np.abs(near.astype(jnp.float32) - exact.x).max() / np.abs(exact.x).max()
    assert distance < 0.03, distance


@every_encoder
def test_large_sizes_by_shape(name):
    constructor, _, options, large = ENCODERS[name]
    encoder = constructor(1024, **(options | {"layers": 24} if "layers" in options else options))
    tokens, variables = jax.eval_shape(encoder.init_with_output, jax.random.key(0), *large)
    assert tokens.x.shape == (4096, tokens.mask.shape[1], 1024)
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))


@pytest.mark.parametrize("constructor", sorted({c for c, *_ in ENCODERS.values()}, key=str))
def test_width_alone_is_enough(constructor):
    data = next(data for c, data, *_ in ENCODERS.values() if c is constructor)
    tokens = jax.eval_shape(constructor(64).init_with_output, jax.random.key(0), *data(0))[0]
    assert tokens.x.shape[::2] == (ROWS, 64)
