"""Without the fast forms, everything differentiates twice and in forward mode.

Each encoder, fusion and loss is a function of one number t, which moves all that it may be derived
by along one direction. Of losses, forward and reverse mode have to agree; the others would take
minutes to compile.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Bool, Int

from mmjax.factory import ENCODERS, FUSIONS
from mmjax.factory.tables.losses import LOSSES, PENALTIES
from mmjax.nn import kernels
from mmjax.nn.layers.batch_norm import BatchNorm
from tests import drawn
from tests.encoders import test_contract as encoders
from tests.fusion import test_contract as fusions

REQUIRED = {"logit_adjusted": {"prior": jnp.asarray([0.2, 0.3, 0.5])}}  # though it has a default
SIZES = {"B": 4, "T": 6, "L": 2, "V": 5, "N": 2, "K": 2}  # all others: 3


def along(function, floats):
    """t -> function(floats + t * direction)."""
    random = np.random.default_rng(5)
    direction = jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape), x.dtype), floats)
    return lambda t: function(jax.tree.map(lambda x, d: x + t * d, floats, direction))


def derivatives(line):
    """First and second derivatives at 0: in reverse, in both orders of modes, and forwards."""

    def all_of_them(t):
        first = jax.grad(line)
        forward = jax.jvp(line, (t,), (jnp.ones(()),))[1], jax.jacfwd(line)(t)
        second = jax.grad(first)(t), jax.hessian(line)(t)
        return jnp.stack([first(t), *forward]), jnp.stack(second)

    return all_of_them


def assert_derived(function, floats):
    """Both modes give the same, and the fast forms the same first derivative."""
    line, zero = along(function, floats), jnp.zeros(())
    with kernels.use(False):
        first, second = jax.jit(derivatives(line))(zero)
    fast = jax.grad(line)(zero)
    for found, near in ((first, 1e-3), (second, 1e-2), (jnp.stack([first[0], fast]), 1e-3)):
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, np.full(len(found), found[0]), rtol=near, atol=near)


def assert_derivable(function, floats):
    """JAX finds the derivatives; nothing is compiled."""
    line, zero = along(function, floats), jnp.zeros(())
    with kernels.use(False):
        for derivative in (jax.jacfwd(line), jax.hessian(line), jax.grad(jax.grad(line))):
            jax.eval_shape(derivative, zero)


def first_of_each(specs):
    """The first configuration of each class."""
    return {spec.constructor: name for name, spec in reversed(specs.items())}


ENCODER_CASES = first_of_each(encoders.SPECS)
FUSION_CASES = first_of_each(fusions.SPECS)


def test_each_encoder_and_fusion_has_a_case():
    assert {e for kind in ENCODERS.values() for e in kind.values()} <= set(ENCODER_CASES)
    assert set(FUSIONS.values()) <= set(FUSION_CASES)


@pytest.mark.parametrize("name", ENCODER_CASES.values())
def test_encoders(name):
    spec = encoders.SPECS[name]
    encoder = spec.constructor(encoders.WIDTH, **spec.options)
    value, mask = (jnp.asarray(x[:2]) for x in spec.data(0))
    variables = encoders.parameters(encoder, value)

    def loss(params):
        tokens = encoder.apply(variables | {"params": params}, value, mask)
        return jnp.mean(tokens.x**2)

    assert_derivable(loss, variables["params"])


@pytest.mark.parametrize("name", FUSION_CASES.values())
def test_fusions(name):
    spec = fusions.SPECS[name]
    fusion = spec.constructor(fusions.WIDTH, **spec.options)
    masks = fusions.masks()
    inputs = fusions.as_tokens(fusions.content(), masks)
    variables = drawn.variables(fusion, inputs, mean=0.05, deviation=0.15)

    def loss(both):
        fused = fusion.apply(both[0], fusions.as_tokens(both[1], masks))
        return jnp.mean(fused.pooled**2) + jnp.mean(fused.tokens.x**2)

    assert_derivable(loss, (variables, fusions.content()))


def arguments(loss):
    """Arrays for what a loss needs, by its annotations."""
    random, made = np.random.default_rng(3), {}
    for name, parameter in inspect.signature(loss).parameters.items():
        if parameter.default is parameter.empty:
            shape = tuple(SIZES.get(axis, 3) for axis in parameter.annotation.dim_str.split())
            kind = parameter.annotation.dtype
            if kind is Bool:
                made[name] = jnp.ones(shape, bool)
            elif kind is Int:
                made[name] = jnp.asarray(random.integers(1, 3, shape))
            elif "weight" in name or "targets" in name:
                made[name] = jnp.asarray(random.uniform(0.2, 0.8, shape), jnp.float32)
            else:
                made[name] = jnp.asarray(random.normal(size=shape), jnp.float32)
    return made


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    given = arguments(LOSSES[name]) | REQUIRED.get(name, {})
    floats = {n: x for n, x in given.items() if jnp.issubdtype(x.dtype, jnp.floating)}
    assert floats
    assert_derived(lambda floats: jnp.mean(LOSSES[name](**given | floats)), floats)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_of_a_critic_with_a_batch_norm(name):
    random = np.random.default_rng(3)
    real, fake = (jnp.asarray(random.normal(size=(4, 3)), jnp.float32) for _ in range(2))
    given = {"fake": fake, "epsilon": jnp.asarray([0.1, 0.9, 0.4, 0.6])}
    given = {} if name == "r1_penalty" else given
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), real)

    def loss(params):
        def critic(x):
            y, _ = norm.apply(
                variables | {"params": params}, x, deterministic=False, mutable=["batch_stats"]
            )
            return jnp.sum(jnp.tanh(y), axis=1)

        return jnp.mean(PENALTIES[name](critic, real, **given))

    assert_derived(loss, variables["params"])
