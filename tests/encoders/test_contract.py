"""What every encoder promises: masked content is nothing, any presence is one program.

A new encoder joins by one line in the specs of its kind. One program per encoder serves most tests
here, so that compiling it is paid once.
"""

import functools
from inspect import signature
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.factory import ENCODERS
from tests.encoders import (
    audio_specs,
    image_specs,
    series_specs,
    text_specs,
    vector_specs,
    video_specs,
)
from tests.encoders.spec import ROWS, WIDTH

SPECS = {
    **audio_specs.SPECS,
    **image_specs.SPECS,
    **series_specs.SPECS,
    **text_specs.SPECS,
    **vector_specs.SPECS,
    **video_specs.SPECS,
}

every_encoder = pytest.mark.parametrize("name", SPECS)
# What compiles a program of its own and no option touches: the first configuration of each class.
every_class = pytest.mark.parametrize(
    "name", {spec.constructor: name for name, spec in reversed(SPECS.items())}.values()
)


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
    """Variables of the right shapes, none of them zero, without compiling an initialisation."""
    random = np.random.default_rng(9)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args)

    def draw(path, p):
        # Running variances are positive.
        drawn = random.normal(0.05, 0.15, p.shape)
        return jnp.asarray(drawn if path[0].key == "params" else np.abs(drawn) + 0.5, jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@functools.cache
def case(name):
    spec = SPECS[name]
    encoder = spec.constructor(WIDTH, **spec.options)
    value, mask = (jnp.asarray(x) for x in spec.data(0))
    variables = parameters(encoder, value)
    traces = []

    @jax.jit
    def step(value, mask):
        traces.append(None)

        def loss(params):
            tokens = encoder.apply(variables | {"params": params}, value, mask)
            return (tokens.x**2).sum(), tokens

        gradient, tokens = jax.grad(loss, has_aux=True)(variables["params"])
        return tokens, gradient

    return Case(encoder, variables, value, mask, step, traces)


def corrupt(value, mask):
    """Other content where masked; for words, real ones of the same text and impossible ids."""
    real = mask.reshape(*mask.shape, *[1] * (value.ndim - mask.ndim))
    if value.dtype == jnp.uint8:
        return jnp.where(real, value, 255 - value)
    if value.dtype == jnp.float32:
        return jnp.where(real, value, jnp.nan)
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


@pytest.mark.parametrize(
    "name", [n for n, spec in SPECS.items() if "dropout" in signature(spec.constructor).parameters]
)
def test_masked_content_changes_no_bit_with_dropout(name):
    spec = SPECS[name]
    _, variables, value, mask, *_ = case(name)
    encoder = spec.constructor(WIDTH, **spec.options, dropout=0.3)

    @jax.jit
    def train(value):
        rngs = {n: jax.random.key(3, impl="rbg") for n in ("dropout", "sample")}
        return encoder.apply(
            variables, value, mask, deterministic=False, rngs=rngs, mutable=["batch_stats"]
        )

    clean = train(value)
    assert_same_bits(train(corrupt(value, mask)), clean)
    assert not np.allclose(clean[0].x, case(name).step(value, mask)[0].x)


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
    np.testing.assert_allclose(without.x, tokens.x, atol=1e-5 * np.abs(tokens.x).max())


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
def test_a_row_is_the_same_at_any_place(name):
    _, _, value, mask, step, _ = case(name)
    tokens, turned = step(value, mask)[0], step(value[::-1], mask[::-1])[0]
    np.testing.assert_array_equal(turned.mask[::-1], tokens.mask)
    scale = np.abs(tokens.x).max()
    np.testing.assert_allclose(turned.x[::-1], tokens.x, rtol=0, atol=1e-5 * scale)


@every_class
def test_a_row_is_the_same_in_a_batch_of_one(name):
    encoder, variables, value, mask, step, _ = case(name)
    alone = jax.jit(encoder.apply)(variables, value[:1], mask[:1])
    tokens, _ = step(value, mask)
    scale = np.abs(tokens.x[0]).max()
    np.testing.assert_allclose(alone.x[0], tokens.x[0], rtol=0, atol=1e-5 * scale)


@every_encoder
def test_every_presence_is_one_program(name):
    _, _, value, mask, step, traces = case(name)
    for presence in (mask, ~mask, jnp.zeros_like(mask), jnp.ones_like(mask)):
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(step(value, presence)))
    assert len(traces) == 1


@every_encoder
def test_bfloat16_is_near_float32(name):
    spec = SPECS[name]
    _, variables, value, mask, step, _ = case(name)
    half = spec.constructor(WIDTH, **spec.options, dtype=jnp.bfloat16)
    near = jax.jit(half.apply)(variables, value, mask).x
    exact, _ = step(value, mask)
    assert near.dtype == jnp.bfloat16
    distance = np.abs(near.astype(jnp.float32) - exact.x).max() / np.abs(exact.x).max()
    assert distance < spec.tolerance, distance


@every_class
def test_vmap_and_remat_give_the_same(name):
    encoder, variables, value, mask, step, _ = case(name)

    @jax.jit
    def gradients(values, masks):
        def loss(params):
            run = jax.checkpoint(lambda v, m: encoder.apply(variables | {"params": params}, v, m))
            tokens = jax.vmap(run)(values, masks)
            return (tokens.x**2).sum() / 2, tokens

        return jax.grad(loss, has_aux=True)(variables["params"])

    tokens, gradient = step(value, mask)
    twice, both = gradients(jnp.stack([value, value]), jnp.stack([mask, mask]))
    for half in (0, 1):
        np.testing.assert_allclose(both.x[half], tokens.x, rtol=1e-4, atol=1e-4)
    scale = max(np.abs(g).max() for g in jax.tree.leaves(gradient))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * scale), twice, gradient)


@every_encoder
def test_large_sizes_by_shape(name):
    spec = SPECS[name]
    encoder = spec.constructor(1024, **{**spec.options, **spec.large_options})
    tokens, variables = jax.eval_shape(encoder.init_with_output, jax.random.key(0), *spec.large)
    assert tokens.x.shape == (spec.large[0].shape[0], tokens.mask.shape[1], 1024)
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))


def test_every_encoder_of_the_table_is_here():
    known = {constructor for table in ENCODERS.values() for constructor in table.values()}
    assert known <= {spec.constructor for spec in SPECS.values()}


@pytest.mark.parametrize("constructor", sorted({s.constructor for s in SPECS.values()}, key=str))
def test_width_alone_is_enough(constructor):
    data = next(spec.data for spec in SPECS.values() if spec.constructor is constructor)
    tokens = jax.eval_shape(constructor(64).init_with_output, jax.random.key(0), *data(0))[0]
    assert tokens.x.shape[::2] == (ROWS, 64)
