"""What every fusion promises: an absent modality is nothing, order is nothing, one program.

A new fusion joins by one line in the specs. One program per fusion serves most tests here.
"""

import functools
import itertools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.factory import FUSIONS
from mmjax.types import Tokens
from tests import drawn
from tests.fusion import bilinear_specs, latent_specs, pooled_specs, sequence_specs
from tests.fusion.spec import WIDTH

SPECS = {**pooled_specs.SPECS, **sequence_specs.SPECS, **latent_specs.SPECS, **bilinear_specs.SPECS}
BATCH = 5
LENGTHS = {"text": 4, "image": 3, "audio": 2}
NAMES = tuple(LENGTHS)

every_fusion = pytest.mark.parametrize("name", SPECS)
# What compiles a program of its own and no option touches: the first configuration of each class.
every_class = pytest.mark.parametrize(
    "name", list({spec.constructor: name for name, spec in reversed(SPECS.items())}.values())
)


def content(seed=0):
    random = np.random.default_rng(seed)
    return {
        name: jnp.asarray(random.normal(size=(BATCH, length, WIDTH)), jnp.float32)
        for name, length in LENGTHS.items()
    }


def masks():
    """Row 0 has everything, 1 to 3 lack one modality each, 4 has nothing; some tokens are pads."""
    random = np.random.default_rng(1)
    result = {}
    for row, (name, length) in enumerate(LENGTHS.items(), start=1):
        mask = random.random((BATCH, length)) < 0.6
        mask[:, 0] = True
        mask[[row, 4]] = False
        result[name] = jnp.asarray(mask)
    return result


def as_tokens(content, masks):
    return {name: Tokens(content[name], masks[name]) for name in content}


def corrupt(content, masks, value):
    return {name: jnp.where(masks[name][..., None], x, value) for name, x in content.items()}


class Case(NamedTuple):
    """`step(content, masks)` -> Fused, and gradients at the parameters and at the content."""

    fusion: Any
    variables: Any
    step: Any
    traces: list


@functools.cache
def case(name):
    spec = SPECS[name]
    fusion = spec.constructor(WIDTH, **spec.options)
    variables = drawn.variables(fusion, as_tokens(content(), masks()), mean=0.05, deviation=0.15)
    traces = []

    @jax.jit
    def step(content, masks):
        traces.append(None)

        def loss(variables, content):
            fused = fusion.apply(variables, as_tokens(content, masks))
            return (fused.pooled**3).sum() + (fused.tokens.x**3).sum(), fused

        gradients, fused = jax.grad(loss, (0, 1), has_aux=True)(variables, content)
        return fused, gradients

    return Case(fusion, variables, step, traces)


def assert_same_bits(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@every_fusion
@pytest.mark.parametrize("value", [1e6, np.nan])
def test_masked_content_changes_no_bit_of_output_or_gradient(name, value):
    step = case(name).step
    assert_same_bits(step(corrupt(content(), masks(), value), masks()), step(content(), masks()))


@pytest.mark.parametrize("name", ["multiply", "gmu", "transformer", "graph"])
def test_masked_content_changes_no_bit_without_jit(name):
    fusion, variables, *_ = case(name)
    dirty = corrupt(content(), masks(), 1e6)
    clean, other = (fusion.apply(variables, as_tokens(c, masks())) for c in (content(), dirty))
    assert_same_bits(other, clean)


@every_fusion
def test_masked_content_has_exactly_no_gradient(name):
    _, (_, gradients) = case(name).step(content(), masks())
    for modality, mask in masks().items():
        gradient, real = np.asarray(gradients[modality]), np.asarray(mask)
        np.testing.assert_array_equal(gradient[~real], 0)
        assert np.abs(gradient[real]).max(-1).min() > 0


@every_fusion
def test_a_row_with_nothing_is_finite_with_finite_gradients(name):
    nothing = jax.tree.map(jnp.zeros_like, masks())
    for leaf in jax.tree.leaves(case(name).step(content(), nothing)):
        assert np.isfinite(leaf).all()


@every_fusion
def test_every_presence_is_one_program(name):
    _, _, step, traces = case(name)
    for presence in itertools.product([True, False], repeat=len(NAMES)):
        chosen = {n: m & p for (n, m), p in zip(masks().items(), presence, strict=True)}
        assert np.isfinite(step(content(), chosen)[0].pooled).all()
    assert len(traces) == 1


@every_fusion
def test_order_of_the_mapping_changes_nothing_in_the_program(name):
    fusion = case(name).fusion

    def programs(names):
        # The mapping is made inside: as an argument it would arrive sorted.
        def run(content, masks):
            tokens = {n: Tokens(content[n], masks[n]) for n in names}
            return fusion.init_with_output(jax.random.key(0), tokens)

        program = str(jax.make_jaxpr(run)(content(), masks()))
        return re.sub(" at 0x[0-9a-f]+", "", program)

    assert programs(NAMES[::-1]) == programs(NAMES)


EACH_OF_A_CLASS = [(name, absent) for name in every_class.args[1] for absent in NAMES]
OTHERS = [(name, "text") for name in SPECS if name not in every_class.args[1]]


@pytest.mark.parametrize(("name", "absent"), EACH_OF_A_CLASS + OTHERS)
def test_leaving_a_modality_out_equals_masking_it(name, absent):
    fusion, variables, step, _ = case(name)
    without = masks() | {absent: jnp.zeros_like(masks()[absent])}
    masked, _ = step(content(), without)
    tokens = as_tokens(content(), without)
    del tokens[absent]
    left_out = jax.jit(fusion.apply)(variables, tokens)
    scale = max(1, np.abs(masked.pooled).max())
    np.testing.assert_allclose(left_out.pooled, masked.pooled, atol=1e-5 * scale)


@every_fusion
def test_each_present_modality_matters(name):
    step = case(name).step
    fused, _ = step(content(), masks())
    for modality in NAMES:
        other = content() | {modality: content(7)[modality]}
        changed = np.abs(step(other, masks())[0].pooled - fused.pooled).max(-1) > 0
        np.testing.assert_array_equal(changed, np.asarray(masks()[modality]).any(1))


@every_fusion
def test_tokens_are_zero_where_masked(name):
    fused, _ = case(name).step(content(), masks())
    assert fused.pooled.shape == (BATCH, WIDTH)
    np.testing.assert_array_equal(np.asarray(fused.tokens.x)[~np.asarray(fused.tokens.mask)], 0)


@every_fusion
@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_modalities(name, count):
    spec = SPECS[name]
    tokens = {
        f"view{i}": Tokens(jnp.ones((2, i + 1, WIDTH)), jnp.ones((2, i + 1), bool))
        for i in range(count)
    }
    fused, _ = jax.eval_shape(
        spec.constructor(WIDTH, **spec.options).init_with_output, jax.random.key(0), tokens
    )
    assert fused.pooled.shape == (2, WIDTH)


@every_fusion
def test_bfloat16_is_near_float32(name):
    spec = SPECS[name]
    _, variables, step, _ = case(name)
    half = spec.constructor(WIDTH, **spec.options, dtype=jnp.bfloat16)
    low = {n: x.astype(jnp.bfloat16) for n, x in content().items()}
    near = jax.jit(half.apply)(variables, as_tokens(low, masks())).pooled
    exact = step(content(), masks())[0].pooled
    assert near.dtype == jnp.bfloat16
    distance = np.abs(near.astype(jnp.float32) - exact).max() / np.abs(exact).max()
    assert distance < spec.tolerance, distance


@every_fusion
def test_masked_content_changes_no_bit_with_dropout(name):
    spec = SPECS[name]
    fusion = spec.constructor(WIDTH, **spec.options, dropout=0.3)

    @jax.jit
    def train(content):
        rngs = {n: jax.random.key(3, impl="rbg") for n in ("dropout", "sample")}
        tokens = as_tokens(content, masks())
        return fusion.apply(case(name).variables, tokens, deterministic=False, rngs=rngs)

    clean = train(content())
    assert_same_bits(train(corrupt(content(), masks(), 1e6)), clean)
    assert not np.allclose(clean.pooled, case(name).step(content(), masks())[0].pooled)


@every_fusion
def test_large_sizes_by_shape(name):
    spec = SPECS[name]
    tokens = {
        n: Tokens(
            jax.ShapeDtypeStruct((4096, 1000, 2048), jnp.float32),
            jax.ShapeDtypeStruct((4096, 1000), bool),
        )
        for n in NAMES
    }
    fusion = spec.constructor(2048, **{**spec.options, **spec.large_options})
    fused, _ = jax.eval_shape(fusion.init_with_output, jax.random.key(0), tokens)
    assert fused.pooled.shape == (4096, 2048)


@every_fusion
def test_mistakes_are_told_in_one_line(name):
    spec = SPECS[name]
    fusion = spec.constructor(WIDTH, **spec.options)
    with pytest.raises(UserError, match="no modality given"):
        fusion.init(jax.random.key(0), {})
    ragged = {
        n: Tokens(jnp.zeros((rows, 1, WIDTH)), jnp.ones((rows, 1), bool))
        for n, rows in {"image": 2, "text": 6}.items()
    }
    with pytest.raises(UserError, match=r"different batch sizes.*'image': 2, 'text': 6"):
        fusion.init(jax.random.key(0), ragged)


@every_class
def test_vmap_and_remat_give_the_same(name):
    fusion, variables, step, _ = case(name)

    @jax.jit
    def gradients(contents, masks):
        def loss(variables):
            run = jax.checkpoint(lambda c, m: fusion.apply(variables, as_tokens(c, m)))
            fused = jax.vmap(run)(contents, masks)
            return ((fused.pooled**3).sum() + (fused.tokens.x**3).sum()) / 2, fused

        return jax.grad(loss, has_aux=True)(variables)

    fused, (gradient, _) = step(content(), masks())
    stack = functools.partial(jax.tree.map, lambda x: jnp.stack([x, x]))
    twice, both = gradients(stack(content()), stack(masks()))
    for half in (0, 1):
        np.testing.assert_allclose(both.pooled[half], fused.pooled, rtol=1e-4, atol=1e-4)
    scale = max([np.abs(g).max() for g in jax.tree.leaves(gradient)], default=0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * scale), twice, gradient)


def test_every_fusion_of_the_table_is_here():
    assert set(FUSIONS.values()) <= {spec.constructor for spec in SPECS.values()}


@pytest.mark.parametrize("constructor", sorted({s.constructor for s in SPECS.values()}, key=str))
def test_width_alone_is_enough(constructor):
    tokens = as_tokens(content(), masks())
    fused, _ = jax.eval_shape(constructor(width=64).init_with_output, jax.random.key(0), tokens)
    assert fused.pooled.shape == (BATCH, 64)
